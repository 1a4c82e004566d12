from pathlib import Path

import pytest
import torch
from torch import nn

from zoo.objectives import perceptual
from zoo.objectives.perceptual import Lpips, ResNetLogits, find_perceptual


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path):
    """An empty folder of torchvision's weights."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()


def test_without_weights_there_is_no_distance_and_it_is_said():
    network, note = find_perceptual()
    assert network is None
    assert "no perceptual distance" in note
    assert "resnet50-0676ba61.pth" in note
    assert find_perceptual("none") == (None, "no perceptual distance: none was asked for")


@pytest.mark.parametrize(
    ("name", "why"), [("lpips", "vgg16-397923af.pth, which are not there"), ("vgg", "choose from")]
)
def test_what_cannot_be_had_is_refused_by_name(name, why):
    with pytest.raises(ValueError, match=why):
        find_perceptual(name)


def test_weights_that_are_here_are_taken_frozen(monkeypatch):
    loaded: list[Path] = []
    monkeypatch.setattr(perceptual, "load_resnet", lambda path: loaded.append(path) or ResNetLogits(nn.Linear(2, 2)))
    perceptual.weights_of("resnet_logits").touch()
    network, note = find_perceptual()
    assert note == "perceptual distance: resnet_logits"
    assert loaded == [perceptual.weights_of("resnet_logits")]
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_logits_are_compared_frame_by_frame_and_gradients_reach_the_pixels():
    torch.manual_seed(0)
    network = ResNetLogits(nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, 4)), side=6).requires_grad_(False)
    video, made = torch.rand(2, 3, 3, 4, 4), torch.rand(2, 3, 3, 4, 4, requires_grad=True)
    alone = [network(made[:1, :, [at]], video[:1, :, [at]]) for at in range(3)]
    torch.testing.assert_close(network(made[:1], video[:1]), torch.stack(alone).mean())
    assert network(video, video) == 0
    network(made, video).backward()
    assert made.grad.abs().sum() > 0


@pytest.mark.slow
def test_files_of_torchvision_are_read_and_nothing_is_left_at_random():
    from torchmetrics.functional.image.lpips import _LPIPS
    from torchvision.models import vgg16

    torch.manual_seed(0)
    source = vgg16(weights=None)
    torch.save(source.state_dict(), perceptual.weights_of("lpips"))
    network, _ = find_perceptual("lpips")
    assert isinstance(network, Lpips)
    found = [it for it in network.network.net.parameters() if it.ndim == 4]
    wanted = [it for it in source.features.parameters() if it.ndim == 4]
    assert len(found) == len(wanted)
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
    assert isinstance(network.network, _LPIPS)
    video = torch.rand(1, 3, 2, 32, 32)
    assert network(video, video) == 0
    assert network(video, video.flip(3)) > 0
