"""Class probabilities of one video file; behind `zoo predict`."""

import os
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.card import ClipSpec
from zoo.data import decode, sampling, transforms
from zoo.model import VideoModel
from zoo.registry import create_model


class Prediction(NamedTuple):
    """One class and how probable it is.

    Attributes:
        label: name of the class, or "class 7" where names are unknown.
        class_index: number of the class.
        probability: between 0 and 1.
    """

    label: str
    class_index: int
    probability: float


def predict(
    model: VideoModel | str,
    path: str | os.PathLike[str],
    *,
    k: int = 5,
    checkpoint_path: str | Path | None = None,
    clip: ClipSpec | None = None,
    device: str = "cpu",
    decoder: str = "pyav",
) -> list[Prediction]:
    """The most probable classes of a video, best first.

    Softmax scores are averaged over the clips and crops of the evaluation protocol, as the reported numbers are made.

    Args:
        model: a classifier, which is left in the mode that it was in, or the name of an architecture.
        path: video file.
        k: number of classes to return; all of them when there are fewer.
        checkpoint_path: weights for a model that is named. A file written by `save_checkpoint` brings options, class
            names and clip protocol; any other must be a classifier of the architecture's default size with 400 classes.
        clip: protocol; None for the model's own.
        device: where to compute.
        decoder: see `zoo.data.decode.read_frames`.

    Raises:
        ValueError: for a model without weights, classes or protocol, and for an unknown name.
        CheckpointError: when the weights cannot be used.
        DecodeError: when the video cannot be read exactly.
    """
    if k < 1:
        raise ValueError(f"at least one class must be asked for, not {k}")
    if isinstance(model, str):
        if checkpoint_path is None:
            raise ValueError(f"{model!r} has no weights to predict with; give a file as checkpoint_path")
        model = create_model(model, checkpoint_path=checkpoint_path)
    if model.num_classes == 0:
        raise ValueError("the weights are of a backbone without a classifier: give the file of a fine-tuned one")
    clip = clip or (model.spec.clip if model.spec else None)
    if clip is None:
        raise ValueError("this model does not say which clips it takes; pass clip=ClipSpec(...)")
    training = model.training
    try:
        scores = probabilities(model.to(device).eval(), path, clip, decoder=decoder)
    finally:
        model.train(training)
    names = model.spec.label_names if model.spec else ()
    values, classes = scores.topk(min(k, len(scores)))
    return [
        Prediction(names[index] if names else f"class {index}", index, value)
        for value, index in zip(values.tolist(), classes.tolist(), strict=True)
    ]


@torch.inference_mode()
def probabilities(
    model: VideoModel, path: str | os.PathLike[str], clip: ClipSpec, *, decoder: str = "pyav"
) -> Float[Tensor, "classes"]:
    """Mean over all views of softmax, in float32 on the CPU.

    Args:
        model: a classifier in evaluation mode.
        path: video file.
        clip: protocol.
        decoder: see `zoo.data.decode.read_frames`.

    Raises:
        DecodeError: when the file cannot be read exactly.
    """
    index = decode.probe(path)
    like = next(model.parameters())
    total = torch.zeros(model.num_classes)
    for number in range(clip.clips):
        frames = sampling.eval_index(clip, index.num_frames, clip=number).tolist()
        pixels = torch.from_numpy(decode.read_frames(path, frames, decoder=decoder, index=index))
        views = transforms.eval_clips(pixels, clip, crops=clip.crops).to(device=like.device, dtype=like.dtype)
        total += model(views).float().softmax(1).mean(0).cpu()
    return total / clip.clips
