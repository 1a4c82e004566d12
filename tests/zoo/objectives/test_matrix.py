import pytest

from backbones.timesformer import timesformer_joint_pico, timesformer_pico
from backbones.vit import vit_pico
from zoo.objectives.matrix import OBJECTIVES, mask_for, obstacle, statement


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_backbone_that_drops_tokens_trains_under_every_objective(objective):
    assert obstacle(vit_pico(), objective) == ""
    assert statement(vit_pico(), objective) == "trains"


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_backbone_that_computes_every_token_is_refused_where_tokens_are_dropped(objective):
    whole = vit_pico()
    whole.drops_tokens = False
    assert (obstacle(whole, objective) == "") == (objective == "self_distillation")
    assert statement(whole, objective).startswith("trains" if objective == "self_distillation" else "no: ")


def test_divided_attention_gets_tube_masks_and_the_table_says_so():
    divided, joint = timesformer_pico(), timesformer_joint_pico()
    assert (mask_for(divided, "attention"), mask_for(joint, "attention")) == ("tube", "attention")
    assert "tube masks" in statement(divided, "vjepa")
    assert statement(joint, "vjepa") == "trains"


def test_an_unknown_objective_is_refused_with_the_valid_ones():
    with pytest.raises(ValueError, match=r"'dino'.*mae, lvmae, umt, vjepa, self_distillation"):
        obstacle(vit_pico(), "dino")


def test_tokens_that_no_tokenizer_can_match_are_refused_with_their_size():
    odd = vit_pico(img_size=28, patch_size=14)
    assert "2 x 14 x 14" in obstacle(odd, "lvmae")
    assert obstacle(odd, "mae") == ""
