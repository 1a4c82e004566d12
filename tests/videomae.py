"""From the constructor arguments in the videomae fixtures to our networks with the authors' weights."""

from typing import Any

import torch

from backbones.contract import Grid
from backbones.layers import Flavor
from backbones.vit import ViT
from heads.linear import LinearHead
from heads.masked_decoder import MaskedDecoder
from tests.support import part
from zoo.card import Converter
from zoo.cards import vit as card
from zoo.model import VideoModel
from zoo.objectives.mae import MAE, PixelTarget

Options = dict[str, Any]


def qkv_bias(options: Options) -> str:
    return "qv" if options.get("qkv_bias", True) else "none"


def hf_options(config: Options) -> Options:
    """A transformers config in the words of VideoMAE's fine-tuning constructor."""
    return {
        "img_size": config["image_size"],
        "patch_size": config["patch_size"],
        "all_frames": config["num_frames"],
        "tubelet_size": config["tubelet_size"],
        "embed_dim": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "mlp_ratio": config["intermediate_size"] / config["hidden_size"],
        "qkv_bias": config["qkv_bias"],
        "num_classes": config.get("num_labels"),
        "use_mean_pooling": config["use_mean_pooling"],
    }


def flavor(options: Options, norm_eps: float = 1e-6) -> Flavor:
    return Flavor(
        qkv_bias=qkv_bias(options),
        layer_scale=options.get("init_values") or None,
        mlp_ratio=float(options.get("mlp_ratio", 4)),
        norm_eps=norm_eps,
    )


def videomae_classifier(options: Options, norm_eps: float = 1e-6) -> VideoModel:
    """VideoMAE's VisionTransformer: mean pooling and fc_norm, or the encoder's norm and the first token."""
    mean = options["use_mean_pooling"]
    backbone = ViT(
        img_size=options["img_size"],
        num_frames=options["all_frames"],
        patch_size=options["patch_size"],
        tubelet_size=options["tubelet_size"],
        embed_dim=options["embed_dim"],
        depth=options["depth"],
        num_heads=options["num_heads"],
        final_norm=not mean,
        flavor=flavor(options, norm_eps),
    )
    head = LinearHead(options["embed_dim"], options["num_classes"], pool="mean" if mean else "first", norm=mean)
    return VideoModel(backbone, head)


def videomae_pretrainer(options: Options, num_frames: int, norm_eps: float = 1e-6, **target: Any) -> MAE:
    """VideoMAE's PretrainVisionTransformer with its loss."""
    size, patch, tubelet = options["img_size"], options["patch_size"], options["tubelet_size"]
    student = ViT(
        img_size=size,
        num_frames=num_frames,
        patch_size=patch,
        tubelet_size=tubelet,
        embed_dim=options["encoder_embed_dim"],
        depth=options["encoder_depth"],
        num_heads=options["encoder_num_heads"],
        flavor=flavor(options, norm_eps),
    )
    decoder = MaskedDecoder(
        options["encoder_embed_dim"],
        options["decoder_num_classes"],
        student.table_grid,
        width=options["decoder_embed_dim"],
        depth=options["decoder_depth"],
        num_heads=options["decoder_num_heads"],
        flavor=flavor(options, norm_eps),
    )
    return MAE(student, decoder, mask_ratio=0.75, target=PixelTarget(**target))


def hf_pretrainer(config: Options, norm_eps: float = 1e-6) -> MAE:
    """Transformers' VideoMAEForPreTraining with its loss."""
    encoder = hf_options(config)
    options = {
        **encoder,
        **{f"encoder_{name}": encoder[name] for name in ("embed_dim", "depth", "num_heads")},
        "decoder_num_classes": 3 * config["tubelet_size"] * config["patch_size"] ** 2,
        "decoder_embed_dim": config["decoder_hidden_size"],
        "decoder_depth": config["decoder_num_hidden_layers"],
        "decoder_num_heads": config["decoder_num_attention_heads"],
    }
    normalize = "channel" if config["norm_pix_loss"] else "none"
    return videomae_pretrainer(options, config["num_frames"], norm_eps, normalize=normalize)


def maest_flavor(options: Options) -> Flavor:
    return Flavor(
        positions="separable" if options["sep_pos_embed"] else "joint",
        cls_token=options["cls_embed"],
        qkv_bias="none" if options.get("no_qkv_bias") else "qkv",
        mlp_ratio=float(options.get("mlp_ratio", 4)),
    )


def maest_backbone(options: Options, *, final_norm: bool) -> ViT:
    return ViT(
        img_size=options["img_size"],
        num_frames=options["num_frames"],
        patch_size=options["patch_size"],
        tubelet_size=options["t_patch_size"],
        embed_dim=options["embed_dim"],
        depth=options["depth"],
        num_heads=options["num_heads"],
        final_norm=final_norm,
        flavor=maest_flavor(options),
    )


def maest_classifier(options: Options) -> VideoModel:
    """mae_st's VisionTransformer with a class token: mean of the patch tokens, norm, dropout, linear."""
    head = LinearHead(options["embed_dim"], options["num_classes"], pool="mean", norm=True, dropout=options["dropout"])
    return VideoModel(maest_backbone(options, final_norm=False), head)


def maest_pretrainer(options: Options, mask_ratio: float) -> MAE:
    """mae_st's MaskedAutoencoderViT."""
    student = maest_backbone(options, final_norm=True)
    per_token = options["t_patch_size"] * options["pred_t_dim"] // options["num_frames"]
    target = PixelTarget(
        normalize="patch" if options["norm_pix_loss"] else "none", unit_range=False, frames_per_token=per_token
    )
    decoder = MaskedDecoder(
        options["embed_dim"],
        target.num_values(student.tubelet),
        student.table_grid,
        width=options["decoder_embed_dim"],
        depth=options["decoder_depth"],
        num_heads=options["decoder_num_heads"],
        embed_bias=True,
        flavor=maest_flavor(options),
    )
    return MAE(student, decoder, mask_ratio=mask_ratio, mask="random", target=target)


def maest_tables(options: Options) -> card.Tables:
    """How the mae_st converters call the position tables that a constructor makes."""
    if options["sep_pos_embed"]:
        return "separable"
    return "joint with class row" if options["cls_embed"] else "joint"


def zoo_state(tensors: dict[str, torch.Tensor], converter: Converter) -> dict[str, torch.Tensor]:
    """The fixture's weights in our names; every key must be known, and the way back must be exact."""
    official = part(tensors, "sd.")
    assert converter.matches(list(official))
    converted = converter.to_zoo(official)
    assert not converted.unexpected
    assert not converted.dropped
    back = converter.to_official(converted.state)
    assert back.state.keys() == official.keys()
    assert all(torch.equal(back.state[key], tensor) for key, tensor in official.items())
    return converted.state


def loaded(system: VideoModel | MAE, tensors: dict[str, torch.Tensor], converter: Converter) -> VideoModel | MAE:
    """The system in evaluation mode with the fixture's weights, strictly."""
    state = zoo_state(tensors, converter)
    if isinstance(system, MAE):
        state = {name.replace("backbone.", "student.", 1): tensor for name, tensor in state.items()}
    system.load_state_dict(state)
    return system.eval()


def grid_of(shape: list[int], tubelet: int, patch: int) -> Grid:
    return Grid(shape[2] // tubelet, shape[3] // patch, shape[4] // patch)
