import pytest
import torch

from tests.zoo.training.synthetic import TinyBackbone, TinyData
from zoo.training.features import device_of, extract


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


def test_a_bank_that_grows_too_large_is_refused_early():
    with pytest.raises(ValueError, match="after 4 views the features take more than"):
        extract(TinyBackbone(), TinyData().test_dataloader(), pool=None, max_bytes=1000)


def test_no_clips_are_an_error():
    with pytest.raises(ValueError, match="no clips"):
        extract(TinyBackbone(), [], pool=None, max_bytes=1000)


def test_accelerators_are_named_as_lightning_names_them():
    assert (device_of("gpu"), device_of("cpu")) == ("cuda", "cpu")
    assert device_of("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
