"""OpenAI CLIP's image encoder out of pieces of transformers' CLIP, which `backbones.frozen` builds."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Backbone, Features
from backbones.positions import resize_spatial_table
from backbones.teacher import as_frames


def attend(attn: Any, x: Float[Tensor, "images sequence dim"]) -> tuple[Tensor, Tensor, Tensor]:
    """Self-attention by transformers' projections, without the map.

    Args:
        attn: transformers' CLIPAttention.
        x: normed tokens.

    Returns:
        The update `[images, sequence, dim]`; queries and keys of each head `[images, heads, sequence, dim / heads]`.
    """
    query, key, value = (
        project(x).unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
        for project in (attn.q_proj, attn.k_proj, attn.v_proj)
    )
    out = F.scaled_dot_product_attention(query, key, value)
    return attn.out_proj(out.transpose(1, 2).flatten(2)), query, key


class ClipBlock(nn.Module):
    """A block of CLIP's image encoder out of transformers' pieces.

    Args:
        layer: transformers' CLIPEncoderLayer.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        parts: Any = layer
        self.norm1, self.attn, self.norm2, self.mlp = (
            parts.layer_norm1, parts.self_attn, parts.layer_norm2, parts.mlp,
        )  # fmt: skip

    def forward(self, x: Float[Tensor, "images sequence dim"]) -> Float[Tensor, "images sequence dim"]:
        """Attention among the tokens of a frame, then the MLP."""
        x = x + attend(self.attn, self.norm1(x))[0]
        return x + self.mlp(self.norm2(x))


class ClipBackbone(Backbone):
    """OpenAI CLIP's image encoder on every frame by itself.

    Patch tokens of all frames stay, class tokens are averaged over frames, so time is seen by what comes after only.
    The projection into the space that CLIP shares with texts is not part of it; `ClipTeacher` has that.

    Args:
        model: transformers' CLIPVisionModelWithProjection, or CLIPVisionModel.
    """

    drops_tokens = False

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        vision: Any = model
        # From transformers 5 on, the parts of a CLIPVisionModel do not lie one level deeper.
        config, parts = vision.config, getattr(vision, "vision_model", vision)
        self.embed_dim, self.depth, self.pool = config.hidden_size, config.num_hidden_layers, "cls"
        self.tubelet = (1, config.patch_size, config.patch_size)
        self.side = config.image_size // config.patch_size
        table = parts.embeddings.position_embedding.weight.detach().clone()
        self.patch_embed = nn.ModuleDict({"proj": parts.embeddings.patch_embedding})
        self.cls_token = nn.Parameter(parts.embeddings.class_embedding.detach().clone()[None, None])
        self.cls_pos_embed, self.pos_embed = (nn.Parameter(it[None]) for it in table.split([1, self.side**2]))
        self.norm_pre, self.norm = parts.pre_layrnorm, parts.post_layernorm
        self.blocks = nn.ModuleList(ClipBlock(layer) for layer in parts.encoder.layers)

    def forward_intermediates(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        layers: Sequence[int],
        keep: Int64[Tensor, "batch tokens"] | None = None,
        *,
        norm: bool = True,
    ) -> list[Features]:
        """See `Backbone.forward_intermediates`.

        Raises:
            ValueError: also for any `keep`.
        """
        self.refuse(keep)
        wanted, grid = self.resolve_layers(layers), self.grid(video)
        patches = self.patch_embed["proj"](as_frames(video, (video.shape[3], video.shape[4])))
        table = resize_spatial_table(self.pos_embed, (self.side, self.side), (grid.height, grid.width))
        cls = (self.cls_token + self.cls_pos_embed).expand(patches.shape[0], -1, -1)
        x = self.norm_pre(torch.cat([cls, patches.flatten(2).transpose(1, 2) + table], 1))
        found = {}
        for index in range(max(wanted, default=-1) + 1):
            x = self.run_block(index, x)
            if index in wanted:
                out = (self.norm(x) if norm else x).unflatten(0, (video.shape[0], -1))
                prefix, tokens = out.split([1, grid.height * grid.width], 2)
                found[index] = Features(tokens.flatten(1, 2), prefix.mean(1), grid, None)
        return [found[index] for index in wanted]


# OpenAI's names of the parts of CLIP's image encoder, and transformers' names.
_OPENAI = {
    "class_embedding": "vision_model.embeddings.class_embedding",
    "positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "ln_pre.": "vision_model.pre_layrnorm.",
    "ln_post.": "vision_model.post_layernorm.",
    "proj": "visual_projection.weight",
    "transformer.resblocks.": "vision_model.encoder.layers.",
}
_OPENAI_BLOCK = {
    ".ln_1.": ".layer_norm1.",
    ".ln_2.": ".layer_norm2.",
    ".attn.": ".self_attn.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
}


def from_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of an image encoder under transformers' names; unknown names stay as they are."""
    if any(name.startswith("visual.") for name in state):
        state = {name.removeprefix("visual."): it for name, it in state.items() if name.startswith("visual.")}
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        start = next((it for it in _OPENAI if name == it or (it.endswith(".") and name.startswith(it))), "")
        ours = _OPENAI.get(start, "") + name.removeprefix(start)
        for theirs, mine in _OPENAI_BLOCK.items():
            ours = ours.replace(theirs, mine)
        if ".in_proj_" in ours:
            kind = ours.rpartition("_")[2]
            parts = zip("qkv", tensor.chunk(3), strict=True)
            found |= {ours.replace(f"in_proj_{kind}", f"{part}_proj.{kind}"): it for part, it in parts}
        elif name == "conv1.weight":
            # UMT's and VideoMamba's files hold a kernel over one frame.
            found[ours] = tensor.squeeze(2) if tensor.ndim == 5 else tensor
        else:
            found[ours] = tensor.t() if name == "proj" else tensor
    return found
