import pytest
import torch

from backbones.contract import Grid
from tests.zoo.training.synthetic import TinyBackbone, TinyData
from zoo.training.features import AcceleratorError, FeatureBank, check_accelerator, device_of, extract


def test_features_are_those_of_the_backbone_in_evaluation_mode():
    backbone = TinyBackbone().train()
    bank = extract(backbone, TinyData(views=2).test_dataloader(), pool=None, max_bytes=1 << 30)
    assert not backbone.training
    clips = torch.cat([batch.video for batch in TinyData(views=2).test_dataloader()])
    torch.testing.assert_close(bank.tokens, backbone.forward_features(clips).tokens)
    assert bank.rows.tolist() == torch.arange(10).repeat_interleave(2).tolist()
    assert not bank.tokens.requires_grad


def test_pooling_keeps_one_vector_per_view():
    backbone, data = TinyBackbone(), TinyData()
    whole = extract(backbone, data.test_dataloader(), pool=None, max_bytes=1 << 30)
    pooled = extract(backbone, data.test_dataloader(), pool="mean", max_bytes=1 << 30)
    torch.testing.assert_close(pooled.tokens[:, 0], whole.tokens.mean(1))
    assert pooled.tokens.shape == (10, 1, 16)


def test_levels_are_joined_along_the_tokens():
    backbone, data = TinyBackbone(), TinyData()
    bank = extract(backbone, data.test_dataloader(), pool=None, max_bytes=1 << 30, layers=[1, 0])
    clips = torch.cat([batch.video for batch in data.test_dataloader()])
    last, first = backbone.forward_intermediates(clips, [1, 0])
    torch.testing.assert_close(bank.tokens, torch.cat([last.tokens, first.tokens], 1))
    assert bank.grid == (4, 2, 2)


def test_segments_of_a_crop_become_one_view():
    # Two videos of 3 clips x 2 crops; a token says video, clip and crop.
    places = torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(2)).float()
    bank = FeatureBank(
        tokens=places[:, None],
        prefix=places[:, None],
        grid=Grid(1, 1, 1),
        labels=places[:, 0].long() + 3,
        rows=7 - places[:, 0].long(),
        targets=places[:, 0] / 2,
    )
    whole = bank.across_segments(3, 2)
    assert whole.grid == (3, 1, 1)
    assert whole.rows.tolist() == [7, 7, 6, 6]
    assert whole.labels.tolist() == [3, 3, 4, 4]
    assert whole.targets.tolist() == [0.0, 0.0, 0.5, 0.5]
    assert whole.views.tolist() == [0, 1, 0, 1]
    for view, (video, crop) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        assert whole.tokens[view].tolist() == [[video, clip, crop] for clip in range(3)]
    assert torch.equal(whole.prefix, whole.tokens)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([0, 0, 0, 1, 1], "5 views are no whole clips"),
        ([0, 0, 0], "3 views are no whole clips"),
        ([0, 1, 0, 1], "do not lie together"),
        ([0, 0, 0, 1, 1, 1], "do not lie together"),
    ],
)
def test_views_that_are_no_segments_are_refused(rows, said):
    tokens = torch.zeros(len(rows), 1, 2)
    labels = torch.zeros(len(rows), dtype=torch.int64)
    bank = FeatureBank(tokens=tokens, prefix=tokens, grid=Grid(1, 1, 1), labels=labels, rows=torch.tensor(rows))
    with pytest.raises(ValueError, match=said):
        bank.across_segments(2, 1)


def test_a_bank_that_grows_too_large_is_refused_early():
    with pytest.raises(ValueError, match="after 4 views the features take more than"):
        extract(TinyBackbone(), TinyData().test_dataloader(), pool=None, max_bytes=1000)


def test_no_clips_are_an_error():
    with pytest.raises(ValueError, match="no clips"):
        extract(TinyBackbone(), [], pool=None, max_bytes=1000)


def test_accelerators_are_named_as_lightning_names_them():
    assert (device_of("gpu"), device_of("cpu")) == ("cuda", "cpu")
    assert device_of("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


def test_an_accelerator_that_is_not_there_is_told_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_accelerator("auto")
    check_accelerator("cpu")
    with pytest.raises(AcceleratorError, match="no accelerator 'gpu' on this machine; choose auto or cpu"):
        check_accelerator("gpu")
    with pytest.raises(AcceleratorError, match="unknown accelerator 'gpuu'; known: auto, cpu, gpu, mps, cuda"):
        check_accelerator("gpuu")
