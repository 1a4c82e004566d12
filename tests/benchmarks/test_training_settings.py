import pytest

from benchmarks.training_settings import SettingError, difference, flat, settings_of, typed, with_values
from zoo.recipes.catalogue import TRAININGS
from zoo.suggest import UnknownNameError

ROW = TRAININGS["umt_base.k710_pt_ssv2_f8_res224"]


def test_fields_have_dotted_names_and_facts_are_no_settings():
    named = flat(ROW)
    assert named["recipe.base_lr"] == 2e-4
    assert named["options.drop_path_rate"] == 0.1
    assert named["classifier.options.final_norm"] is False
    settings = settings_of(ROW)
    assert "recipe.layer_decay" in settings
    assert not {"source", "expected", "notes"} & {name.partition(".")[0] for name in settings}


def test_values_get_the_type_of_their_field():
    changed = with_values(
        ROW, ["recipe.base_lr=1e-3", "recipe.betas=0.9,0.95", "options.drop_path_rate=0.3", "recipe.gradient_clip=5"]
    )
    assert (changed.optimisation.base_lr, changed.optimisation.betas) == (1e-3, (0.9, 0.95))
    assert changed.options["drop_path_rate"] == 0.3
    assert changed.optimisation.gradient_clip == 5.0
    assert set(difference(ROW, changed)) == {
        "recipe.base_lr",
        "recipe.betas",
        "options.drop_path_rate",
        "recipe.gradient_clip",
    }


def test_steps_follow_epochs_videos_and_batch_unless_they_are_set():
    assert with_values(ROW, ["epochs=10"]).optimisation.steps == 10 * (168_913 // 256)
    halved = with_values(ROW, ["recipe.global_batch=128"]).optimisation
    assert (halved.steps, halved.warmup_steps) == (30 * (168_913 // 128), 5 * (168_913 // 128))
    assert with_values(ROW, ["videos=2560"]).optimisation.steps == 300
    # A run shorter than the warm-up is all warm-up.
    assert with_values(ROW, ["epochs=2"]).warmup_epochs == 2
    counted = with_values(ROW, ["recipe.steps=7", "recipe.warmup_steps=2"])
    assert (counted.optimisation.steps, counted.epochs) == (7, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recipe.base_lr", "is no assignment"),
        ("recipe.base_lr=fast", "'fast' is no number"),
        ("recipe.repeats=1.5", "'1.5' is no whole number"),
        ("recipe.betas=0.9", "'0.9' are 1 values and not 2"),
        ("recipe.precision=float8", "unknown value 'float8'"),
        ("recipe.clip_parts=perhaps", "neither True nor False"),
        ("recipe.base_lr=nan", "'nan' is no finite number"),
        ("recipe.base_lr=-1", "base_lr must be at least 0, not -1"),
        ("options.drop_path_rate=2", "it takes a number from 0 to below 1"),
        ("augment.flip=0.5", "must not be flipped"),
        ("augment.policy=nonsense", "none of timm's"),
    ],
)
def test_values_that_a_field_does_not_take_are_refused(text, message):
    with pytest.raises(SettingError, match=message):
        with_values(ROW, [text])


@pytest.mark.parametrize(
    ("text", "closest"),
    [
        ("recipe.base_rl=1", "recipe.base_lr"),
        ("options.drop_path=0.1", "options.drop_path_rate"),
        ("source=me", "unknown field"),
        ("architecture=umt_bass", "umt_base"),
        ("objective.mask_ratio=0.5", "unknown field"),
    ],
)
def test_misspelt_fields_get_the_closest(text, closest):
    with pytest.raises(UnknownNameError, match=closest):
        with_values(ROW, [text])


def test_a_field_that_is_set_twice_is_refused():
    with pytest.raises(SettingError, match=r"recipe\.base_lr is set twice"):
        with_values(ROW, ["recipe.base_lr=1e-3", "epochs=3", "recipe.base_lr=2e-3"])


def test_two_flips_can_be_set_together():
    changed = with_values(ROW, ["augment.flip=0.5", "clip.flip=True"])
    assert (changed.augment.flip, changed.clip.flip) == (0.5, True)


def test_none_is_a_value_where_a_field_has_it():
    assert typed("none", float | None) is None
    assert typed("0.1", float | None) == 0.1
    with pytest.raises(ValueError, match="cannot be set as a whole"):
        typed("x", dict)
