"""What LVMAE's decoder budget saves: tokens, operations and attention maps by closed forms, and bytes as measured.

The paper's Figure 1 shows this as a picture, from which no number could be read; its text says that a budget of 50 %
takes more than four times the memory of 15 %. Attention maps were then kept in memory. Fused attention keeps none, so
both are here.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from backbones.contract import Features, Grid
from backbones.vit import ViT
from benchmarks.memory import PeakMeter
from heads.masked_decoder import MaskedDecoder
from zoo import masks
from zoo.batch import Batch
from zoo.decoder_masks import Budget, DecoderMasking
from zoo.objectives.lvmae import lvmae_for

MIB = 2**20
BUDGETS = (1.0, 0.5, 0.25, 0.15, 0.1)
FRAMES = (32, 64, 128)


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """A stack of plain transformer blocks with an MLP four times as wide.

    Attributes:
        width: of its tokens.
        depth: its blocks.
        num_heads: of each block.
    """

    width: int
    depth: int
    num_heads: int

    def flops(self, num_tokens: int) -> int:
        """Operations of one pass over a clip, two per multiplication and addition, matrix products alone.

        24 n d^2 for the linear layers and 4 n^2 d for the attention of each block.
        """
        return self.depth * (24 * num_tokens * self.width**2 + 4 * num_tokens**2 * self.width)

    def map_bytes(self, num_tokens: int, itemsize: int = 2) -> int:
        """Attention maps of all blocks and heads of a clip."""
        return self.depth * self.num_heads * num_tokens**2 * itemsize


# ViT-B, and the decoder of VideoMAE's; the paper's decoder is 4 blocks deep, its width could not be read.
ENCODER, DECODER = Trunk(width=768, depth=12, num_heads=12), Trunk(width=384, depth=4, num_heads=6)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Clips and masks of a pretraining.

    Attributes:
        frames: of a clip.
        budget: share of the tokens that is decoded; at 1 all that the encoder does not see.
        img_size: side of a clip in pixels.
        tubelet: pixels per token (frames, height, width).
        mask_ratio: share of the tokens that the encoder does not see, in tubes.
    """

    frames: int
    budget: float
    img_size: int = 224
    tubelet: tuple[int, int, int] = (2, 16, 16)
    mask_ratio: float = 0.9

    @property
    def grid(self) -> Grid:
        """Tokens of a clip."""
        return Grid(self.frames // self.tubelet[0], *(self.img_size // size for size in self.tubelet[1:]))

    @property
    def masking(self) -> DecoderMasking:
        """Which tokens are decoded; their number depends on the budget alone."""
        if self.budget == 1:
            return DecoderMasking(strategy="none")
        return DecoderMasking(strategy="random", budget=Budget(total=self.budget))

    @property
    def num_visible(self) -> int:
        """Tokens that the encoder sees."""
        return masks.tube(self.grid, self.mask_ratio, 1, torch.Generator()).shape[1]

    @property
    def num_query(self) -> int:
        """Tokens that the decoder predicts."""
        return self.masking.num_query(self.grid, self.num_visible)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Costs of one clip, forward.

    Attributes:
        frames: of the clip.
        budget: share of the tokens that is decoded.
        num_tokens: of the clip.
        num_visible: tokens of the encoder.
        num_decoder: tokens of the decoder, visible ones and queries.
        encoder_gflops: 10^9 operations, two per multiplication and addition.
        decoder_gflops: likewise.
        map_mib: attention maps of the decoder in half precision, when attention is not fused.
    """

    frames: int
    budget: float
    num_tokens: int
    num_visible: int
    num_decoder: int
    encoder_gflops: float
    decoder_gflops: float
    map_mib: float


def rows(
    frames: Iterable[int] = FRAMES,
    budgets: Iterable[float] = BUDGETS,
    *,
    encoder: Trunk = ENCODER,
    decoder: Trunk = DECODER,
) -> list[Row]:
    """The closed forms for every number of frames and every budget, at 224 px with 90 % of the tokens masked."""
    settings = [Setting(frames=count, budget=budget) for count in frames for budget in budgets]
    return [_row(setting, encoder, decoder) for setting in settings]


def _row(setting: Setting, encoder: Trunk, decoder: Trunk) -> Row:
    visible = setting.num_visible
    length = visible + setting.num_query
    return Row(
        frames=setting.frames,
        budget=setting.budget,
        num_tokens=setting.grid.num_tokens,
        num_visible=visible,
        num_decoder=length,
        encoder_gflops=encoder.flops(visible) / 1e9,
        decoder_gflops=decoder.flops(length) / 1e9,
        map_mib=decoder.map_bytes(length) / MIB,
    )


def decoder_activations(
    setting: Setting, *, fused: bool, decoder: Trunk = DECODER, dim: int = ENCODER.width, out_dim: int = 6
) -> int:
    """Bytes that the decoder keeps for its backward pass of one clip in bfloat16, counted without any memory.

    Args:
        setting: clips and masks.
        fused: attention without maps, by the kernel of processors, which keeps what others keep.
        decoder: its size.
        dim: width of the encoder.
        out_dim: numbers predicted per token; 6 are those of codes of 18 bits in FSQ's levels 8 x 6.
    """
    with torch.device("meta"):
        network = MaskedDecoder(
            dim, out_dim, setting.grid, width=decoder.width, depth=decoder.depth, num_heads=decoder.num_heads
        ).bfloat16()
        tokens = torch.empty(1, setting.num_visible, dim, dtype=torch.bfloat16, requires_grad=True)
        keep = torch.empty(1, setting.num_visible, dtype=torch.int64)
        query = torch.empty(1, setting.num_query, dtype=torch.int64)
    features = Features(tokens, tokens[:, :0], setting.grid, keep)
    with _Fused() if fused else sdpa_kernel(SDPBackend.MATH):
        return saved_bytes(lambda: network(features, query), network)


class _Fused(TorchFunctionMode):
    """Fuses attention on the meta device too, where PyTorch takes the path with maps."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*args)[0]
        return func(*args, **(kwargs or {}))


def saved_bytes(function: Callable[[], object], network: nn.Module) -> int:
    """Bytes that autograd keeps of a call for its backward pass, each storage once and parameters not at all."""
    kept: dict[int, Tensor] = {}
    ours = {it.untyped_storage()._cdata for it in network.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        # The tensor itself is kept, so that no other storage can take its place.
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        # What is returned holds the graph, and the graph what it saved.
        result = function()
        total = sum(it.untyped_storage().nbytes() for storage, it in kept.items() if storage not in ours)
        del result
    return total


# A step that shows the difference on any computer: 4096 tokens of which 448 are visible.
SMALL = Trunk(width=64, depth=2, num_heads=2)
SMALL_CAP_MIB = 256


def small_step(budget: float) -> Setting:
    """128 frames of 64 px in tubelets of 2 x 8 x 8 px."""
    return Setting(frames=128, budget=budget, img_size=64, tubelet=(2, 8, 8))


def step_peak(budget: float) -> float | None:
    """Peak memory in MiB of a forward and backward pass over one clip of `small_step`, attention not fused.

    For a process that was started for this measurement alone; pixels are the target, so that no tokenizer is needed.

    Returns:
        None where it cannot be measured.
    """
    setting = small_step(budget)
    side, frames = setting.img_size, setting.frames
    torch.manual_seed(0)
    student = ViT(img_size=side, num_frames=frames, patch_size=8, embed_dim=64, depth=2, num_heads=2)
    form = {"width": SMALL.width, "depth": SMALL.depth, "num_heads": SMALL.num_heads}
    objective = lvmae_for(student, None, side, frames, target="pixels", masking=setting.masking, decoder=form)
    video = torch.randn(1, 3, frames, side, side)
    batch = Batch(video, torch.tensor([-1]), torch.tensor([0]))
    meter = PeakMeter("cpu")
    meter.start()
    with sdpa_kernel(SDPBackend.MATH):
        total = objective(batch).total
        total.backward()
    peak = meter.stop()
    if not math.isfinite(total.item()):
        raise ValueError(f"the step's loss is {total.item()}")
    return peak
