"""Video tokenizers of the MAGVIT family: Open-MAGVIT2's released ones, a causal MAGVIT-v2, and LVMAE's.

Sources: Luo et al., "Open-MAGVIT2" (arXiv 2409.04410) and TencentARC/SEED-Voken (Apache-2.0): docs/Open-MAGVIT2.md for
files and numbers, `video_lfqgan.py` and `ema.py` for the layout. Neither Google (MAGVIT, MAGVIT-v2) nor the authors of
LVMAE (arXiv 2411.13683) released weights. Whether the files still lie there was not checked.
"""

from collections.abc import Mapping

from torch import Tensor

from backbones import magvit
from zoo.card import (
    Architecture,
    Card,
    Classifier,
    ClipSpec,
    Converted,
    Converter,
    Reported,
    Rule,
    Source,
    Weights,
    rename,
    unsqueeze,
)

AVERAGE = "model_ema."
HALF = (0.5, 0.5, 0.5)  # pixels in [-1, 1]
DOCS = "TencentARC/SEED-Voken docs/Open-MAGVIT2.md"
OPEN_SOURCE = "arXiv 2409.04410; TencentARC/SEED-Voken"


class LightningLayout(Converter):
    """A file of Open-MAGVIT2's trainer, whose running averages are what its evaluation uses.

    Their names are those of the weights with all dots removed, so each is looked up by the name of its weight, which
    lies in the file too: nobody has to guess where the dots were.
    """

    def to_zoo(self, state: Mapping[str, Tensor]) -> Converted:
        """See `Converter.to_zoo`; the weights themselves count as dropped where there are running averages.

        Raises:
            ValueError: also when some weights have a running average and others have none.
        """
        weights = [key for key in state if key.startswith(("encoder.", "decoder."))]
        shadows = {key: AVERAGE + key.replace(".", "") for key in weights}
        if not any(key.startswith((f"{AVERAGE}encoder", f"{AVERAGE}decoder")) for key in state):
            return super().to_zoo(state)
        if lacking := [key for key, shadow in shadows.items() if shadow not in state]:
            raise ValueError(f"{lacking[0]!r} is there but its running average {shadows[lacking[0]]!r} is not")
        if len(set(shadows.values())) < len(shadows):
            raise ValueError("two weights have the same name without dots, so that their averages cannot be told apart")
        taken = {*shadows, *shadows.values()}
        averaged = {key: it for key, it in state.items() if key not in taken}
        averaged |= {key: state[shadow] for key, shadow in shadows.items()}
        converted = super().to_zoo(averaged)
        return converted._replace(dropped=[*converted.dropped, *weights])


def _conv(theirs: str, ours: str, *, video: bool) -> tuple[Rule, ...]:
    """A convolution: video models wrap theirs, image models have square kernels."""
    inner = f"{theirs}.conv_1" if video else theirs
    kernel = rename(f"{inner}.weight", f"{ours}.weight")
    if not video:
        kernel = unsqueeze(f"{inner}.weight", f"{ours}.weight", dim=2)
    return kernel, rename(f"{inner}.bias", f"{ours}.bias")


def _blocks(theirs: str, ours: str, *, video: bool) -> tuple[Rule, ...]:
    """Residual blocks; both templates may hold a star for their number."""
    return (
        *(
            rename(f"{theirs}.norm{at}.{part}", f"{ours}.norm{at}.{part}")
            for at in (1, 2)
            for part in ("weight", "bias")
        ),
        *(rule for at in (1, 2) for rule in _conv(f"{theirs}.conv{at}", f"{ours}.conv{at}", video=video)),
        *_conv(f"{theirs}.nin_shortcut", f"{ours}.shortcut", video=video),
    )


def layout(name: str, *, levels: int, depth: int = 4, video: bool = False) -> LightningLayout:
    """The layout of Open-MAGVIT2's networks.

    Args:
        name: what messages call it.
        levels: resolutions; the authors count them from the full one, our decoder from the coarsest.
        depth: residual blocks per level and in the middle.
        video: video convolutions lie in a module of their own, `conv_1`.
    """
    last, rules = levels - 1, [*_conv("encoder.conv_in", "backbone.patch_embed.proj", video=video)]
    for at in range(last):
        theirs, ours = f"encoder.down.{at}", f"backbone.patch_embed.levels.{at}"
        rules += _blocks(f"{theirs}.block.*", f"{ours}.blocks.*", video=video)
        rules += _conv(f"{theirs}.downsample", f"{ours}.down", video=video)
    for at in range(depth):
        rules += _blocks(f"encoder.down.{last}.block.{at}", f"backbone.blocks.{at}", video=video)
        rules += _blocks(f"encoder.mid_block.{at}", f"backbone.blocks.{depth + at}", video=video)
    rules += [rename("encoder.norm_out.*", "latent.norm.*"), *_conv("encoder.conv_out", "latent.proj", video=video)]
    rules += _conv("decoder.conv_in", "decoder.proj", video=video)
    rules += _blocks("decoder.mid_block.*", "decoder.middle.*", video=video)
    for at in range(levels):
        ours = f"decoder.levels.{last - at}"
        rules += _blocks(f"decoder.up.{at}.block.*", f"{ours}.blocks.*", video=video)
        rules += _conv(f"decoder.up.{at}.upsample.conv1", f"{ours}.up.conv", video=video)
        rules.append(rename(f"decoder.adaptive.{at}.*", f"{ours}.adapt.*"))
    rules += [rename("decoder.norm_out.*", "decoder.norm.*"), *_conv("decoder.conv_out", "decoder.out", video=video)]
    return LightningLayout(
        name=name,
        needs=("encoder.conv_in.conv_1.weight" if video else "encoder.conv_in.weight", f"encoder.down.{last}.*"),
        lacks=(f"encoder.down.{levels}.*",),
        rules=tuple(rules),
        # Discriminator and schedule of the training.
        drop=("loss.*", f"{AVERAGE}loss*", f"{AVERAGE}decay", f"{AVERAGE}num_updates"),
        # A classifier on the encoder has no use for the rest of the tokenizer.
        optional=("latent.*", "decoder.*"),
    )


VIDEO = layout("Open-MAGVIT2 video", levels=4, video=True)
IMAGE_8 = layout("Open-MAGVIT2 image, 1/8", levels=4)
IMAGE_16 = layout("Open-MAGVIT2 image, 1/16", levels=5)
SHRINK = {"channels": 8, "depth": 1, "img_size": 16}
LEAK = (
    "its norms take the statistics of the whole clip, so that later frames change the codes of earlier ones although "
    "all convolutions are causal: measured on a tiny model by changing the later frames"
)
STILLS = "an image tokenizer: the frames of a clip are coded one by one"
VIEW = "create_tokenizer makes the tokenizer, create_model its encoder with a classifier"
UNTRAINED = "no weights were ever released, and none of ours are: train it first"


def _clip(num_frames: int, img_size: int) -> ClipSpec:
    return ClipSpec(num_frames=num_frames, sampling="dense", img_size=img_size, mean=HALF, std=HALF)


def _architecture(
    name: str,
    clip: ClipSpec,
    parameters: int,
    *notes: str,
    source: str,
    converters: tuple[Converter, ...] = (),
    shrink: Mapping[str, int] = SHRINK,
) -> Architecture:
    """All members are probed by the mean of their tokens."""
    return Architecture(
        name=name,
        family="magvit",
        build=getattr(magvit, f"{name}_encoder"),
        tokenizer=getattr(magvit, name),
        clip=clip,
        classifier=Classifier(pool="mean"),
        parameters=parameters,
        converters=converters,
        source=source,
        code_licence="Apache-2.0",
        shrink=shrink,
        notes=(*notes, VIEW),
    )


def _released(name: str, clip: ClipSpec, parameters: int, converter: Converter, note: str) -> Architecture:
    """One of Open-MAGVIT2's."""
    shrink = {**SHRINK, "num_frames": 5} if clip.num_frames > 1 else {**SHRINK, "img_size": 32}
    return _architecture(name, clip, parameters, note, source=OPEN_SOURCE, converters=(converter,), shrink=shrink)


def _lvmae(size: str, clip: ClipSpec, parameters: int, note: str) -> Architecture:
    """LVMAE's tokenizer, of which no code was released; its parts are MAGVIT's."""
    return _architecture(
        f"lvmae_tokenizer_{size}",
        clip,
        parameters,
        note,
        UNTRAINED,
        source="arXiv 2411.13683 (LVMAE, no code); google-research/magvit",
        shrink={} if size == "tiny" else {**SHRINK, "num_frames": 4, "img_size": 32},
    )


INFERRED = "its table of sizes was not recoverable: width, depth and levels are our inference (spec-lvmae-magvit, A.6)"
ARCHITECTURES: tuple[Architecture, ...] = (
    _released("open_magvit2_video_128", _clip(17, 128), 144_855_040, VIDEO, LEAK),
    _released("open_magvit2_image_128", _clip(1, 128), 48_411_904, IMAGE_8, STILLS),
    _released("open_magvit2_image_256", _clip(1, 256), 49_741_184, IMAGE_16, STILLS),
    _released("open_magvit2_pretrain_16384", _clip(1, 256), 49_741_184, IMAGE_16, STILLS),
    _released("open_magvit2_pretrain_262144", _clip(1, 256), 49_741_184, IMAGE_16, STILLS),
    _architecture(
        "magvit2_causal",
        _clip(17, 128),
        144_855_040,
        "as Open-MAGVIT2's video model, but causal: its norms take the statistics of one frame",
        UNTRAINED,
        source="arXiv 2310.05737; TencentARC/SEED-Voken",
        shrink={**SHRINK, "num_frames": 5},
    ),
    _lvmae("base", _clip(16, 224), 70_081_920, INFERRED),
    _lvmae("small", _clip(16, 224), 17_526_464, INFERRED),
    _lvmae("tiny", _clip(16, 24), 182_000, "for the embedded suite; no published size"),
)


def _card(
    architecture: str,
    tag: str,
    repository: str,
    file: str,
    dataset: str,
    numbers: Mapping[tuple[str, str], float],
    *notes: str,
) -> Card:
    """A file of the authors' hub repositories."""
    known = next(it for it in ARCHITECTURES if it.name == architecture)
    return Card(
        architecture=architecture,
        tag=tag,
        weights=Weights(
            sources=(Source(hf_repo=f"TencentARC/Open-MAGVIT2-Tokenizer-{repository}", hf_file=file),),
            layout=known.converters[0].name,
            code_licence="Apache-2.0",
        ),
        clip=known.clip,
        dataset=dataset,
        task="tokenizer",
        reported=tuple(Reported(data, metric, value, DOCS) for (data, metric), value in numbers.items()),
        notes=(*notes, "weights are the running averages (model_ema), which the authors evaluate"),
    )


_PRETRAINING = "LAION-COCO, CC12M, CC3M, LAION-HD, LAION-Aesthetic and JourneyDB (the authors' list)"
CARDS: tuple[Card, ...] = (
    _card(
        "open_magvit2_image_128",
        "in1k",
        "128-resolution",
        "imagenet_128_L.ckpt",
        "in1k",
        {
            ("in1k", "rFID"): 1.18,
            ("in1k", "PSNR"): 25.08,
            ("in1k at 256 px", "rFID"): 0.34,
            ("in1k at 256 px", "PSNR"): 26.19,
        },
        "the authors' starred row says 128 px and has 32 x 32 tokens: this file on pictures of 256 px",
    ),
    _card(
        "open_magvit2_image_256",
        "in1k",
        "256-resolution",
        "imagenet_256_L.ckpt",
        "in1k",
        {("in1k", "rFID"): 1.17, ("in1k", "PSNR"): 21.90},
    ),
    _card(
        "open_magvit2_pretrain_16384",
        "laion",
        "16384-Pretrain",
        "pretrain256_16384.ckpt",
        "laion",
        {("coco", "rFID"): 7.93, ("coco", "PSNR"): 22.21, ("in1k", "rFID"): 2.55, ("in1k", "PSNR"): 22.21},
        _PRETRAINING,
    ),
    _card(
        "open_magvit2_pretrain_262144",
        "laion",
        "262144-Pretrain",
        "pretrain256_262144.ckpt",
        "laion",
        {("coco", "rFID"): 6.76, ("coco", "PSNR"): 22.31, ("in1k", "rFID"): 1.67, ("in1k", "PSNR"): 22.70},
        _PRETRAINING,
    ),
    _card(
        "open_magvit2_video_128",
        "ucf101",
        "262144-Video",
        "video_128_262144.ckpt",
        "ucf101",
        {("ucf101", "rFVD"): 16.0},
        "a user could not reproduce the rFVD (issue 57, closed without a visible answer); its protocol draws random "
        "crops and fixes no subset, so that ours would not be comparable",
        "scripts of the repository call the file ucf101_lfqgan_128_262144.ckpt",
    ),
)
