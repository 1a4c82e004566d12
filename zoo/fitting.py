"""Whether tensors under our names fit a model: head, completeness, shapes, number formats, finite values."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from zoo.card import Converter, State, fits
from zoo.layouts import Recognised, is_optional
from zoo.load_report import LoadReport
from zoo.reshape import Inflation, inflate_kernel, resize_positions, select_classes

LINEAR, LINEARS = "head.linear.", "head.linears."
DECODER = "decoder."
BLOCKS = "backbone.blocks."
KERNEL = "backbone.patch_embed.proj.weight"
SPACE, TIME = "backbone.pos_embed", "backbone.temporal_pos_embed"


def fit_to_model(
    found: Recognised,
    own: Mapping[str, Tensor],
    report: LoadReport,
    *,
    tubelet: tuple[int, int, int],
    strict: bool,
    resize: bool,
    inflate: Inflation | None,
    classes: Sequence[int] | None = None,
) -> State:
    """The tensors to copy, each of the shape and format of the model's; `report` is told everything.

    Args:
        found: tensors under our names.
        own: tensors of the model; its parameters as such, which tells fixed tables from learned ones.
        report: what happened is written here.
        tubelet: pixels per token of the model, for hints.
        strict: whether names that do not match are errors.
        resize: whether position tables may be interpolated.
        inflate: how image kernels become video kernels; None for not at all.
        classes: rows of the file's classifier to take, in this order; None for all.

    Raises:
        ValueError: when the tensors do not fit, saying which and what to change.
    """
    if classes is not None:
        if LINEAR + "weight" in own and len(classes) != len(own[LINEAR + "weight"]):
            wanted = len(own[LINEAR + "weight"])
            raise ValueError(f"{len(classes)} classes were chosen for a model that has {wanted}; choose as many")
        chosen = select_classes(found.converted.state, classes)
        found = found._replace(converted=found.converted._replace(state=chosen))
    state = _leave_out(found, own, report)
    if inflate is not None and TIME in own and TIME not in state:
        state[TIME] = torch.zeros_like(own[TIME])
        report.resized[TIME] = "zeros, as there is one frame in the file"
    needed = {name: it for name, it in own.items() if name in state or not _is_fixed(name, own)}
    _check_names(state, needed, found.layout, report, strict=strict)
    state = {name: _shaped(name, state[name], own[name], report, resize, inflate) for name in own if name in state}
    if wrong := {name: tensor for name, tensor in state.items() if tensor.shape != own[name].shape}:
        raise ValueError(_shape_message(wrong, own, tubelet))
    _check_values(state, own, report)
    report.matched = list(state)
    report.parameters = sum(tensor.numel() for tensor in state.values())
    return state


def _leave_out(found: Recognised, own: Mapping[str, Tensor], report: LoadReport) -> State:
    """The tensors without those that this model has no use for, by the layout's statement or as a replaced head."""
    state = dict(found.converted.state)
    reasons = dict.fromkeys(found.converted.dropped, "not used by this network")
    for name in state:
        if name not in own and is_optional(found.layout, name):
            reasons[name] = "not part of this form of the model"
        elif _is_fixed(name, own) and state[name].shape != own[name].shape:
            reasons[name] = "for other clips; the model has computed its own"
    reasons.update(_replaced_head(state, own))
    report.dropped.update(reasons)
    report.unexpected += found.converted.unexpected
    return {name: tensor for name, tensor in state.items() if name not in reasons}


def _is_fixed(name: str, own: Mapping[str, Tensor]) -> bool:
    """Whether this is a position table that the model has computed: a file may lack it."""
    return name == SPACE and name in own and not isinstance(own[name], nn.Parameter)


def _replaced_head(state: State, own: Mapping[str, Tensor]) -> dict[str, str]:
    """Tensors of the file's head that make way for another one in the model."""
    head = [name for name in state if name.startswith("head.")]
    linear = [name for name in head if name.startswith(LINEAR)]
    if head and not any(name.startswith("head.") for name in own):
        return dict.fromkeys(head, "the model has no head")
    if ("head.query" in state) != ("head.query" in own):
        return dict.fromkeys(head, "the model has another kind of head")
    if not any(name.startswith(LINEAR) for name in own):
        return dict.fromkeys(linear, "the model has no classifier")
    rows = {len(state[name]) for name in linear if state[name].ndim}
    wanted = len(own[LINEAR + "weight"])
    same_width = all(state[name].shape[1:] == own[name].shape[1:] for name in linear if name in own)
    if len(linear) == 2 and len(rows) == 1 and same_width and rows != {wanted}:
        return dict.fromkeys(linear, f"{rows.pop()} classes in the file, {wanted} in the model")
    return {}


def _is_filled(layout: Converter, name: str) -> bool:
    """Whether files of this layout bring this one of our tensors."""
    return not layout.fills or any(fits(template, name) for template in layout.fills)


def _check_names(
    state: State, own: Mapping[str, Tensor], layout: Converter, report: LoadReport, *, strict: bool
) -> None:
    """Fill in what is missing and what is unexpected.

    Raises:
        ValueError: when strict and anything is left over, or anything is missing but a whole head, classifier or
            decoder, and what files of the layout do not hold.
    """
    report.missing = [name for name in own if name not in state]
    report.unexpected += [name for name in state if name not in own]
    without = "head." if not any(name.startswith("head.") for name in state) else LINEAR
    absent = tuple(it for it in (without, DECODER) if not any(name.startswith(it) for name in state))
    lacking = [name for name in report.missing if not name.startswith(absent) and _is_filled(layout, name)]
    if strict and (lacking or report.unexpected):
        parts = [
            f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for what, names in (("tensors of the model are not in it", lacking), ("do not belong", report.unexpected))
            if names
        ]
        raise ValueError(
            f"{report.layout} layout: " + "; ".join(parts) + _name_hint(lacking, report.unexpected, state, own)
        )


def _name_hint(lacking: list[str], surplus: list[str], state: State, own: Mapping[str, Tensor]) -> str:
    """Which option would make the names agree."""
    theirs, ours = _inside_blocks(state), _inside_blocks(own)
    if theirs - ours and ours - theirs:
        return ". Its blocks are built differently: these are weights of another architecture"
    depth = _depth(state)
    if depth and depth != _depth(own):
        return f". The file has {depth} blocks: build the model with depth={depth}"
    if "head.norm.weight" in lacking and "backbone.norm.weight" in state:
        return ". The file's norm stands before pooling: build the model with global_pool='first' (or 'cls')"
    if "backbone.norm.weight" in lacking and "head.norm.weight" in state:
        return ". The file's norm stands after pooling: build the model with global_pool='mean'"
    if surplus == [SPACE]:
        return (
            ". It is a fixed table, interpolated: build the model with the table_grid it comes from (UMT: (8, 14, 14))"
        )
    if lacking == [TIME]:
        return ". These are weights of an image model: pass inflate='center', or build it with num_frames=1"
    return ". strict=False would load the rest" if len(lacking) < len(state) else ""


def _inside_blocks(names: Iterable[str]) -> set[str]:
    """Names of tensors within their blocks."""
    return {name.split(".", 3)[3] for name in names if name.startswith(BLOCKS)}


def _depth(names: Iterable[str]) -> int:
    """Number of blocks; 0 where there are none."""
    return 1 + max((int(name.split(".")[2]) for name in names if name.startswith(BLOCKS)), default=-1)


def _shaped(
    name: str, tensor: Tensor, target: Tensor, report: LoadReport, resize: bool, inflate: Inflation | None
) -> Tensor:
    """The tensor in the model's shape where that was asked for, else as it is."""
    if tensor.shape == target.shape or tensor.ndim != target.ndim:
        return tensor
    if name == KERNEL and inflate is not None and tensor.shape[2] == 1:
        shaped, how = inflate_kernel(tensor, target.shape[2], inflate), f"inflated, {inflate}"
    elif name in (SPACE, TIME) and resize and tensor.shape[::2] == target.shape[::2]:
        shaped, how = resize_positions(name, tensor, target.shape[1]), "interpolated"
    else:
        return tensor
    report.resized[name] = f"{list(tensor.shape)} to {list(target.shape)}, {how}"
    return shaped


def _shape_message(wrong: Mapping[str, Tensor], own: Mapping[str, Tensor], tubelet: tuple[int, int, int]) -> str:
    """Which tensors have another shape, and the options that would change the model's."""
    name, tensor = next(iter(wrong.items()))
    hints = {hint for it, found in wrong.items() for hint in _shape_hints(it, found, own[it], tubelet)}
    return (
        f"{len(wrong)} tensors have another shape than the model's; {name!r} is {list(tensor.shape)} in the file and "
        f"{list(own[name].shape)} in the model. To make the model fit, build it with {', '.join(sorted(hints))}"
    )


def _shape_hints(name: str, found: Tensor, own: Tensor, tubelet: tuple[int, int, int]) -> list[str]:
    """Options that decide the shape of a tensor."""
    if found.ndim != own.ndim:
        return ["another architecture"]
    if name == KERNEL:
        sizes = (("embed_dim", 0), ("tubelet_size", 2), ("patch_size", 3))
        hints = [f"{option}={found.shape[axis]}" for option, axis in sizes if found.shape[axis] != own.shape[axis]]
        deeper = found.shape[2] == 1 < own.shape[2]
        return [*hints, "or pass inflate='center' for weights of an image model"] if deeper else hints
    if name == SPACE and found.shape[1] != own.shape[1]:
        side = math.isqrt(found.shape[1]) * tubelet[1]
        if (side // tubelet[1]) ** 2 != found.shape[1]:
            return ["img_size and num_frames of the file, whose table is over space and time"]
        return [f"img_size={side}", "or pass resize_positions=True"]
    if name == TIME and found.shape[1] != own.shape[1]:
        return [f"num_frames={found.shape[1] * tubelet[0]}", "or pass resize_positions=True"]
    if name.startswith(LINEAR) and found.shape[0] != own.shape[0]:
        return [f"num_classes={found.shape[0]}"]
    if name.startswith(LINEARS) and found.shape[0] != own.shape[0]:
        return [f"a classifier whose questions have {name.split('.')[2]}={found.shape[0]}"]
    return ["the embed_dim of the file"]


def _check_values(state: State, own: Mapping[str, Tensor], report: LoadReport) -> None:
    """Note changes of number format.

    Raises:
        ValueError: for whole numbers in place of fractions, NaN, infinity, and a file of zeros.
    """
    for name, tensor in state.items():
        if tensor.is_meta != own[name].is_meta:
            raise ValueError(f"{name!r} is on the meta device on one side only; weights cannot be copied")
        if tensor.is_floating_point() != own[name].is_floating_point():
            raise ValueError(f"{name!r} holds {tensor.dtype} in the file and {own[name].dtype} in the model")
        if tensor.dtype != own[name].dtype:
            report.cast[name] = f"{_short(tensor)} to {_short(own[name])}"
    values = {name: tensor for name, tensor in state.items() if not tensor.is_meta}
    if broken := [name for name, tensor in values.items() if not _finite(tensor, own[name])]:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise ValueError(f"{broken[0]!r}{more} holds NaN or infinity")
    matrices = [tensor for tensor in values.values() if tensor.ndim > 1]
    if matrices and not any(bool(tensor.any()) for tensor in matrices):
        raise ValueError("all its weights are zero")


def _finite(tensor: Tensor, target: Tensor) -> bool:
    """Whether all values are finite, also after the change of number format."""
    return bool(torch.isfinite(tensor.to(target.dtype)).all())


def _short(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
