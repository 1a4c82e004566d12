"""Whether released weights are what their card says: file, hash, strict load, finite outputs, golden outputs.

The golden outputs of a card are what its network answered to a fixed clip when its weights were first trusted on this
machine. They tell when a change of the code or of a library changes the numbers.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from backbones.tokenizer import Tokenizer
from zoo.card import ClipSpec
from zoo.fetch import FetchError, fetch, find
from zoo.folders import weights_folder
from zoo.model import VideoModel
from zoo.registry import create_model, get_architecture, get_card
from zoo.tokenizers import create_tokenizer
from zoo.weight_cache import digests, read_json, write_json
from zoo.weight_files import CheckpointError

GOLDEN = "golden.json"
# Of the largest value. Kernels of other machines and versions differ by less, another network by far more.
TOLERANCE = 1e-3
Status = Literal["ok", "failed", "not downloaded", "no network"]
Golden = Literal["", "matches", "recorded", "none"]
# 2**32 over the golden ratio: multiples of it, modulo 2**32, fill the range evenly (Knuth, TAOCP 3, section 6.4).
GOLDEN_STEP = 2654435769


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found about one card.

    Attributes:
        name: of the card.
        status: "ok"; "failed"; "not downloaded", when the file is nowhere on this machine and no source can be reached;
            "no network", when none of the zoo can take the weights.
        reason: why it is not ok; empty otherwise.
        path: the file; empty when there is none.
        sha256: of the file; empty when there is none.
        golden: "matches", "recorded" (now), or "none" when there is nothing to compare with.
    """

    name: str
    status: Status
    reason: str = ""
    path: str = ""
    sha256: str = ""
    golden: Golden = ""


def verify(name: str, *, record: bool = False, download: bool = True, progress: bool = True) -> Verdict:
    """Check released weights from the file to the output of the network.

    Args:
        name: `architecture.tag`.
        record: keep the output as golden when there is none yet.
        download: fetch a file that is not on this machine.
        progress: show a bar while downloading.

    Raises:
        UnknownNameError: when there is no such card.
    """
    card = get_card(name)
    if card.missing:
        return Verdict(name=name, status="no network", reason=card.missing)
    cards = [card, *([get_card(card.backbone)] if card.backbone else [])]
    if not download and (absent := [it.name for it in cards if find(it.weights, it.name) is None]):
        return Verdict(name=name, status="not downloaded", reason=f"the file of {absent[0]} is not on this machine")
    verdict = Verdict(name=name, status="ok")
    try:
        for it in reversed(cards):
            path = fetch(it.weights, it.name, progress=progress)
        verdict = replace(verdict, path=str(path), sha256=digests(path).sha256)
        of_tokenizer = get_architecture(name).tokenizer is not None
        output = (
            tokenizer_output(create_tokenizer(name, pretrained=True), card.clip)
            if of_tokenizer
            else golden_output(create_model(name, pretrained=True))
        )
        return replace(verdict, golden=_compare(name, output, verdict.sha256, record=record))
    except FetchError as error:
        status: Status = "not downloaded" if error.unreachable else "failed"
        return replace(verdict, status=status, reason=error.reason.strip())
    except CheckpointError as error:
        return replace(verdict, status="failed", reason=str(error))
    except Exception as error:
        # One bad card among a hundred must not hide the verdicts on the others.
        return replace(verdict, status="failed", reason=f"{type(error).__name__}: {error}")


def golden_clip(clip: ClipSpec) -> Float[Tensor, "1 3 frames height width"]:
    """A fixed clip of a protocol's size, the same on every machine and version: no random generator is involved.

    Args:
        clip: the protocol; its mean and std normalise the pixels.
    """
    shape = (1, 3, clip.num_frames, clip.img_size, clip.img_size)
    steps = torch.arange(torch.Size(shape).numel(), dtype=torch.int64) * GOLDEN_STEP % 2**32
    pixels = (steps.double() / 2**32).view(shape)
    mean, std = (torch.tensor(it, dtype=torch.float64).view(1, 3, 1, 1, 1) for it in (clip.mean, clip.std))
    return ((pixels - mean) / std).float()


def golden_output(model: VideoModel) -> Float[Tensor, "outputs"]:
    """What a model made by `create_model` answers to the fixed clip of its protocol.

    Raises:
        ValueError: when the answer is not finite, or the model does not say its protocol.
    """
    if model.spec is None:
        raise ValueError("this model does not say how it was made; build it with create_model, or set model.spec")
    with torch.inference_mode():
        return _finite(model.eval()(golden_clip(model.spec.clip)).flatten())


def tokenizer_output(tokenizer: Tokenizer, clip: ClipSpec) -> Float[Tensor, "outputs"]:
    """What a tokenizer makes of the fixed clip of its protocol: its latents, and the mean of each decoded frame.

    Raises:
        ValueError: when the answer is not finite.
    """
    pixels = golden_clip(replace(clip, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
    with torch.inference_mode():
        found = tokenizer.eval()(pixels)
    return _finite(torch.cat([found.codes.latents.flatten(), found.video.mean((3, 4)).flatten()]))


def _finite(output: Float[Tensor, "outputs"]) -> Float[Tensor, "outputs"]:
    """The output.

    Raises:
        ValueError: when it is not finite.
    """
    if not bool(torch.isfinite(output).all()):
        raise ValueError("the network answers NaN or infinity to an ordinary clip")
    return output


def _compare(name: str, output: Float[Tensor, "outputs"], sha256: str, *, record: bool) -> Golden:
    """Hold an output against the golden one, or make it that.

    Raises:
        CheckpointError: naming the golden file, when they differ or when it is damaged.
    """
    path = weights_folder(name) / GOLDEN
    golden = read_json(path)
    if golden is None:
        if not record:
            return "none"
        write_json(path, {"sha256": sha256, "output": output.tolist(), "torch": torch.__version__})
        return "recorded"
    try:
        expected = torch.tensor([float(it) for it in golden["output"]])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(path, f"the golden output in it is damaged ({error})") from None
    if golden.get("sha256") != sha256:
        raise CheckpointError(path, f"it is of a file with sha256 {golden.get('sha256')}, not {sha256}")
    if expected.shape != output.shape:
        raise CheckpointError(path, f"it has {len(expected)} outputs, and the network has {len(output)}")
    change = float((output - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    if not change <= TOLERANCE:
        raise CheckpointError(path, f"the network's output differs from it by {change:.1e} of the largest value")
    return "matches"
