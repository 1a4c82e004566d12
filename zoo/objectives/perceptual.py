"""Perceptual distances of clips, by frozen image networks whose weights are on this machine. Nothing is downloaded.

Sources: MAGVIT (arXiv 2212.05199; google-research/magvit, configs for UCF-101): squared distance of ResNet-50 logits at
224 px, frame by frame. Zhang et al., "The Unreasonable Effectiveness of Deep Features" (LPIPS, arXiv 1801.03924), with
VGG as in Open-MAGVIT2; network and linear layers are torchmetrics'.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.card import IMAGENET_MEAN, IMAGENET_STD

# Files of torchvision, as torch.hub keeps them.
FILES = {"resnet_logits": "resnet50-0676ba61.pth", "lpips": "vgg16-397923af.pth"}
NAMES = ("auto", *FILES, "none")
RESNET_SIDE = 224


def frames_of(video: Float[Tensor, "b 3 frames height width"]) -> Float[Tensor, "all 3 height width"]:
    """The frames of all clips as pictures."""
    return video.transpose(1, 2).flatten(0, 1)


class ResNetLogits(nn.Module):
    """Mean squared distance of a classifier's logits.

    Args:
        network: from normalised pictures to logits.
        side: height and width at which it sees them, in pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, side: int = RESNET_SIDE) -> None:
        super().__init__()
        self.network, self.side = network, side
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def forward(
        self, made: Float[Tensor, "b 3 frames height width"], video: Float[Tensor, "b 3 frames height width"]
    ) -> Float[Tensor, ""]:
        """Distance of clips with pixels in 0-1."""
        return F.mse_loss(self.logits(made), self.logits(video))

    def logits(self, video: Float[Tensor, "b 3 frames height width"]) -> Float[Tensor, "all classes"]:
        """Logits of every frame."""
        pictures = F.interpolate(frames_of(video), (self.side, self.side), mode="bilinear", antialias=True)
        return self.network((pictures - self.mean) / self.std)


class Lpips(nn.Module):
    """LPIPS, mean over frames.

    Args:
        network: torchmetrics' network, from two sets of pictures to a distance per picture.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, made: Float[Tensor, "b 3 frames height width"], video: Float[Tensor, "b 3 frames height width"]
    ) -> Float[Tensor, ""]:
        """Distance of clips with pixels in 0-1."""
        return self.network(frames_of(made), frames_of(video), normalize=True).mean()


def weights_of(name: str) -> Path:
    """Where the weights of a distance are kept, whether they are there or not."""
    return Path(torch.hub.get_dir()) / "checkpoints" / FILES[name]


def find_perceptual(name: str = "auto") -> tuple[nn.Module | None, str]:
    """A perceptual distance, and what is to be said of it.

    Args:
        name: "resnet_logits", "lpips", "none", or "auto" for the first of these whose weights are here.

    Returns:
        The frozen network, None for no distance, and a sentence for logs and reports.

    Raises:
        ValueError: for an unknown name, and for a distance asked for by name whose weights are not here.
    """
    if name not in NAMES:
        raise ValueError(f"unknown perceptual distance {name!r}; choose from {', '.join(NAMES)}")
    if name == "none":
        return None, "no perceptual distance: none was asked for"
    here = [it for it in FILES if name in (it, "auto") and weights_of(it).is_file()]
    if here:
        network = load_resnet(weights_of(here[0])) if here[0] == "resnet_logits" else load_lpips(weights_of(here[0]))
        return network.eval().requires_grad_(False), f"perceptual distance: {here[0]}"
    wanted = " or ".join(str(weights_of(it)) for it in FILES if name in (it, "auto"))
    if name != "auto":
        raise ValueError(f"{name!r} needs the weights {wanted}, which are not there; nothing is downloaded here")
    return None, f"no perceptual distance: its weights are not here ({wanted})"


def load_resnet(path: Path) -> ResNetLogits:
    """ResNet-50 from torchvision's file."""
    from torchvision.models import resnet50

    network = resnet50(weights=None)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return ResNetLogits(network)


def load_lpips(path: Path) -> Lpips:
    """LPIPS from torchvision's file of VGG-16; its linear layers come with torchmetrics."""
    # The public class would download, and its loader may run code from the file.
    from torchmetrics.functional.image.lpips import _LPIPS

    network = _LPIPS(net="vgg", pnet_rand=True)
    saved = torch.load(path, map_location="cpu", weights_only=True)
    # Theirs are cut into slices: "slice2.4.weight" is "features.4.weight".
    names = {name: f"features.{name.partition('.')[2]}" for name in network.net.state_dict()}
    network.net.load_state_dict({name: saved[theirs] for name, theirs in names.items()})
    return Lpips(network)
