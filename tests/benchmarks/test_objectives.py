import pytest
import torch

from benchmarks.budgets import BUDGETS
from benchmarks.objectives import EVERYTHING, STILLS, Setting, build
from tests.benchmarks.tiny_suite import SUITE
from zoo.batch import Batch
from zoo.registry import create_backbone, get_architecture

SMOKE = BUDGETS["smoke"].pretrain
CLIP = get_architecture("vit_pico").clip


def objective(name, student="vit_pico"):
    chosen, clip = SMOKE[name], get_architecture(student).clip
    teacher = chosen.teacher.model(student, clip, SUITE) if chosen.teacher else None
    backbone = create_backbone(student)
    codes = chosen.tokenizer.fitted(backbone.tubelet, clip).objective(0).tokenizer if chosen.tokenizer else None
    return build(Setting(backbone, clip, chosen, 4, teacher, codes))


@pytest.mark.parametrize("name", SMOKE)
def test_every_objective_of_a_budget_can_be_built_and_gives_a_loss_and_a_picture(name):
    torch.manual_seed(0)
    made = objective(name)
    batch = Batch(torch.randn(2, 3, 16, 24, 24), torch.tensor([0, 3]), torch.arange(2))
    loss = made(batch)
    assert loss.total.isfinite()
    assert loss.logs["blank_loss"] > 0
    shown = made.eval().picture(batch, batch.video.sigmoid())
    assert shown.note
    for panel in shown.panels.values():
        assert panel.shape == batch.video.shape
        assert panel.min() >= 0
        assert panel.max() <= 1


def test_the_decoder_of_lvmae_is_told_places_by_axes():
    table = objective("lvmae").decoder.pos_embed[0].unflatten(0, (8, 3, 3))
    # A step along an axis changes the channels of that axis alone, wherever it is made.
    below, beside = table.diff(dim=1), table.diff(dim=2)
    assert torch.equal(below[:, 0, 0], below[:, 0, 2])
    assert not torch.equal(below[0, 0, 0], beside[0, 0, 0])


def test_teachers_say_who_they_are_and_what_labels_they_saw():
    stills, smaller = SMOKE["umt"].teacher, SMOKE["self_distillation"].teacher
    assert (stills.lessons, smaller.lessons) == (STILLS, EVERYTHING)
    assert (stills.num_classes(SUITE), smaller.num_classes(SUITE)) == (2, 4)
    assert "vit_still_pico" in stills.words(SUITE)
    assert "shade" in stills.words(SUITE)
    assert "more supervised steps than their twins" in smaller.words(SUITE)
    own = smaller.model("vit_pico", CLIP, SUITE)
    assert own.embed_dim < create_backbone("vit_pico").embed_dim
    assert own.num_classes == 4
