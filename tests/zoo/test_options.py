import re

import pytest

import zoo
from zoo.options import check_classes, check_options


@pytest.mark.parametrize(
    ("name", "option", "value", "right"),
    [
        ("vit_pico", "depth", 0, "a whole number of at least 1"),
        ("vit_pico", "depth", -1, "a whole number of at least 1"),
        ("vit_pico", "patch_size", 8.0, "a whole number of at least 1"),
        ("vit_pico", "num_heads", True, "a whole number of at least 1"),
        ("vit_pico", "img_size", "24", "a whole number of at least 1"),
        ("vit_pico", "img_size", (24, 32), "a whole number of at least 1"),
        ("vit_pico", "drop_path_rate", 1.0, "a number from 0 to below 1"),
        ("vit_pico", "drop_path_rate", "a", "a number from 0 to below 1"),
        ("vit_pico", "final_norm", "no", "True or False"),
        ("vit_pico", "flavor", "x", "a Flavor"),
        ("timesformer_pico", "mlp_ratio", -1, "a number above 0"),
        ("timesformer_pico", "attention", 3, "a text"),
        ("videomamba_pico", "stride", 0, "a whole number of at least 1 or None"),
        ("videomamba_pico", "img_size", (24, 0), "a whole number of at least 1 or a tuple of 2 of them"),
        ("videomamba_pico", "norm_eps", -1.0, "a number above 0"),
        ("lvmae_tokenizer_tiny", "multipliers", (1, "2"), "a tuple of whole numbers"),
        ("lvmae_tokenizer_tiny", "multipliers", 2, "a tuple of whole numbers"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_named_with_what_it_takes(name, option, value, right):
    with pytest.raises(ValueError, match=re.escape(f"{option}={value!r} is no {option} of {name}; it takes {right}")):
        zoo.create_backbone(name, **{option: value})


def check(name, options):
    check_options(name, zoo.get_architecture(name).build, options)


def test_values_of_the_declared_types_pass():
    check("videomamba_pico", {"img_size": (24, 32), "stride": 4, "drop_path_rate": 0})
    check("timesformer_pico", {"mlp_ratio": 2})
    check("lvmae_tokenizer_tiny", {"multipliers": (1, 2, 2, 4), "time_strides": (1,)})


@pytest.mark.parametrize("classes", [-1, True, 2.5, "10"])
def test_what_is_no_number_of_classes_is_refused(classes):
    with pytest.raises(ValueError, match=re.escape(f"num_classes={classes!r} is no number of classes")):
        check_classes(classes)


def test_create_model_checks_the_number_of_classes():
    with pytest.raises(ValueError, match="num_classes=-1 is no number of classes"):
        zoo.create_model("vit_pico", num_classes=-1)
