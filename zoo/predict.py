"""Class probabilities of one video file; behind `zoo predict`."""

import os
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from heads.views import join
from zoo.card import Classifier, ClipSpec
from zoo.data import decode, sampling, transforms
from zoo.foreign import is_foreign
from zoo.model import VideoModel
from zoo.registry import PUSHED, create_model, get_architecture, get_card, has_tag


class PredictError(ValueError):
    """A model that cannot say what is seen in a video."""


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
    An attentive head looks at all clips of a crop at once.

    Args:
        model: a classifier, which is left in the mode that it was in, or a name: of released weights, of what
            `zoo push` wrote, of a network of another library that brings its classifier, or of an architecture.
        path: video file.
        k: number of classes to return; all of them when there are fewer.
        checkpoint_path: weights for a model that is named; None for those that come with the name. A file written by
            `save_checkpoint` brings options, class names and clip protocol; any other must be a classifier of the
            architecture's default size with 400 classes.
        clip: protocol; None for the model's own.
        device: where to compute.
        decoder: see `zoo.data.decode.read_frames`.

    Raises:
        PredictError: for a model without weights, classes or protocol, and for one that answers several questions.
        UnknownNameError: for an unknown name, and for weights that no network takes.
        CheckpointError: when the weights cannot be used.
        DecodeError: when the video cannot be read exactly.
    """
    if k < 1:
        raise ValueError(f"at least one class must be asked for, not {k}")
    if isinstance(model, str):
        model = _named(model) if checkpoint_path is None else create_model(model, checkpoint_path=checkpoint_path)
    if model.spec:
        _require_one_question(model.spec.classifier)
    if model.num_classes == 0:
        raise PredictError("the weights are of a backbone without a classifier: give the file of a fine-tuned one")
    clip = clip or (model.spec.clip if model.spec else None)
    if clip is None:
        raise PredictError("this model does not say which clips it takes; pass clip=ClipSpec(...)")
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


def _require_one_question(classifier: Classifier) -> None:
    """Refuse a classifier whose scores are those of several questions.

    Raises:
        PredictError: naming them.
    """
    if classifier.questions:
        questions = ", ".join(classifier.questions)
        raise PredictError(f"the model answers several questions ({questions}), and none of them alone is the class")


def _named(name: str) -> VideoModel:
    """The model of a name with the weights that come with it.

    Raises:
        PredictError: where none come, or none with a classifier; before anything is downloaded where that is known.
    """
    if name.startswith(PUSHED):
        return create_model(name)
    if is_foreign(name):
        model = create_model(name, pretrained=True)
        if model.spec is None or not model.spec.label_names:
            raise PredictError(
                f"no classifier comes with {name!r}; give a fine-tuned file as checkpoint_path, or --checkpoint"
            )
        return model
    if not has_tag(name):
        known = get_architecture(name).name
        raise PredictError(
            f"{known!r} is an architecture, and has no weights to predict with; name released ones, "
            f"{known}.TAG (zoo list --pretrained), or give a file as checkpoint_path, or --checkpoint"
        )
    card = get_card(name)
    if not card.missing and card.weights.num_classes == 0:
        raise PredictError(f"{name!r} is a backbone without a classifier; name fine-tuned weights")
    if card.classifier is not None:
        _require_one_question(card.classifier)
    return create_model(name, pretrained=True)


@torch.inference_mode()
def probabilities(
    model: VideoModel, path: str | os.PathLike[str], clip: ClipSpec, *, decoder: str = "pyav"
) -> Float[Tensor, "classes"]:
    """Mean over all views of softmax, in float32 on the CPU.

    An attentive head looks at all clips of a crop at once, as the published probes do.

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
    attends = model.spec is not None and model.spec.classifier.kind == "attentive"
    answers, seen = [], []
    for number in range(clip.clips):
        frames = sampling.eval_index(clip, index.num_frames, clip=number).tolist()
        pixels = torch.from_numpy(decode.read_frames(path, frames, decoder=decoder, index=index))
        views = transforms.eval_clips(pixels, clip, crops=clip.crops).to(device=like.device, dtype=like.dtype)
        if attends:
            seen.append(model.forward_features(views))
        else:
            answers.append(model(views))
    if attends:
        answers.append(model.forward_head(join(seen)))
    return torch.stack([it.float().softmax(1).mean(0).cpu() for it in answers]).mean(0)
