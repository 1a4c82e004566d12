import pytest
import torch
from torch import nn

from backbones.contract import Grid
from backbones.layers import patchify
from backbones.tokens import complement
from backbones.vit import MAE_ST, vit_pico
from heads.masked_decoder import MaskedDecoder
from tests import videomae
from tests.support import assert_parity, load
from zoo import masks
from zoo.batch import Batch
from zoo.card import IMAGENET_MEAN, IMAGENET_STD
from zoo.cards import ARCHITECTURES
from zoo.cards import vit as card
from zoo.objectives.mae import MAE, MAE_ST_TARGET, PixelTarget, mae_for

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def batch_of(video: torch.Tensor) -> Batch:
    return Batch(video, torch.zeros(len(video), dtype=torch.int64), torch.arange(len(video)))


def tiny(**options) -> MAE:
    torch.manual_seed(0)
    return mae_for(vit_pico(depth=2), 24, 16, decoder_dim=32, decoder_depth=1, decoder_heads=2, **options)


def clips(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 16, 24, 24, generator=torch.Generator().manual_seed(1))


def replay(mae: MAE, keep: torch.Tensor, monkeypatch) -> None:
    """Make the objective use these masks instead of drawing."""
    monkeypatch.setattr(mae, "draw", lambda video: keep)


@pytest.mark.parametrize("name", ["pretrain_f16_r32", "pretrain_f16_layerscale_r48"])
@pytest.mark.parametrize("kind", ["norm", "raw"])
@torch.no_grad()
def test_videomae_pretraining_gives_the_authors_outputs_and_loss(name, kind, monkeypatch):
    side, tensors = load(f"videomae/{name}")
    normalize = {"norm": "channel", "raw": "none"}[kind]
    mae = videomae.videomae_pretrainer(side["constructor"], side["frames"], normalize=normalize)
    mae = videomae.loaded(mae, tensors, card.VIDEOMAE_PRETRAIN)
    video, keep = tensors["in.video"], masks.from_dropped(tensors["in.mask"])
    replay(mae, keep, monkeypatch)
    features = mae.student.forward_features(video, keep)
    prediction, target = mae.predict(video, keep)
    actual = {
        "encoder": features.tokens,
        "encoder_to_decoder": mae.decoder.embed(features.tokens),
        "decoder_pos_embed": mae.decoder.pos_embed,
        "pred": prediction,
        f"target_{kind}": target,
        f"loss_{kind}": mae(batch_of(video)).total,
    }
    for key, value in actual.items():
        assert_parity(f"videomae/{name} {key}", value, tensors[f"out.{key}"], **TOLERANCE)


@pytest.mark.parametrize("authors", ["transformers", "official"])
@torch.no_grad()
def test_transformers_pretraining_gives_both_authors_predictions(authors, monkeypatch):
    side, tensors = load("videomae/hf_pretraining_f16")
    config = side["config"]
    mae = videomae.hf_pretrainer(config, {"transformers": config["layer_norm_eps"], "official": 1e-6}[authors])
    mae = videomae.loaded(mae, tensors, card.HF_PRETRAIN)
    if authors == "transformers":
        mae.decoder.norm.eps = 1e-5  # PyTorch's default, which transformers leaves there
    video, keep = tensors["in.pixel_values"].transpose(1, 2), masks.from_dropped(tensors["in.bool_masked_pos"])
    replay(mae, keep, monkeypatch)
    prediction, _ = mae.predict(video, keep)
    key = {"transformers": "out.logits", "official": "out.official_logits"}[authors]
    assert_parity(f"videomae/hf_pretraining_f16 {authors} logits", prediction, tensors[key], **TOLERANCE)
    if authors == "transformers":
        encoder = mae.student.forward_features(video, keep).tokens
        assert_parity("videomae/hf_pretraining_f16 encoder", encoder, tensors["out.encoder"], **TOLERANCE)
        loss = mae(batch_of(video)).total
        assert_parity("videomae/hf_pretraining_f16 loss", loss, tensors["out.loss"], **TOLERANCE)


@torch.no_grad()
def test_mae_st_pretraining_gives_the_authors_outputs_and_loss(monkeypatch):
    side, tensors = load("videomae/maest_pretrain_f8_sep_cls")
    options = side["constructor"]
    mae = videomae.maest_pretrainer(options, side["mask_ratio"])
    mae = videomae.loaded(mae, tensors, card.mae_st_pretrain(videomae.maest_tables(options)))
    video, noise = tensors["in.video"], tensors["in.noise"]
    num_keep = masks.random(mae.student.grid(video), side["mask_ratio"], 2, torch.Generator()).shape[1]
    keep = masks.keep_smallest(noise, num_keep)
    replay(mae, keep, monkeypatch)
    assert torch.equal(keep, masks.from_dropped(tensors["out.mask"].bool()))
    features = mae.student.forward_features(video, keep)
    # The authors keep the order of the noise, we keep raster order.
    latent = tensors["out.latent"].gather(
        1, noise.argsort(1)[:, :num_keep].argsort(1)[..., None].expand(-1, -1, options["embed_dim"])
    )
    everywhere = mae.decoder.everywhere(features)
    dropped = complement(keep, 64)
    at_dropped = tensors["out.pred"][torch.arange(2)[:, None], dropped]
    for key, value, expected in [
        ("latent", features.tokens, latent),
        ("pred", everywhere, tensors["out.pred"]),
        ("pred at dropped", mae.predict(video, keep)[0], at_dropped),
        ("loss", mae(batch_of(video)).total, tensors["out.loss"]),
    ]:
        assert_parity(f"videomae/maest_pretrain_f8_sep_cls {key}", value, expected, **TOLERANCE)


def test_videomae_targets_by_the_definition():
    video = clips()
    query = torch.tensor([[3, 17, 70], [0, 1, 71]])
    target = PixelTarget()(video, query, (2, 8, 8))
    mean, std = (torch.tensor(it)[:, None, None, None] for it in (IMAGENET_MEAN, IMAGENET_STD))
    # Token 17 of a grid of 8 x 3 x 3: frames 2 and 3, rows 16 to 23, columns 16 to 23.
    pixels = (video[0] * std + mean)[:, 2:4, 16:24, 16:24]
    expected = torch.stack([(c - c.mean()) / (c.flatten().std() + 1e-6) for c in pixels])
    torch.testing.assert_close(target[0, 1].view(2, 8, 8, 3), expected.permute(1, 2, 3, 0))


def test_mae_st_targets_take_evenly_spaced_frames_and_normalise_whole_patches():
    video = clips()
    query = torch.tensor([[3, 17, 70], [0, 1, 71]])
    target = MAE_ST_TARGET(video, query, (2, 8, 8))
    # linspace(0, 15, 8) cut to integers.
    assert MAE_ST_TARGET.frames(16, (2, 8, 8)).tolist() == [0, 2, 4, 6, 8, 10, 12, 15]
    pixels = video[1, :, 15, 16:24, 16:24]  # token 71: the last time slot and corner
    expected = (pixels - pixels.mean()) / (pixels.var() + 1e-6).sqrt()
    torch.testing.assert_close(target[1, 2].view(8, 8, 3), expected.permute(1, 2, 0))


def test_raw_targets_are_the_pixels():
    video = clips()
    query = torch.tensor([[17], [17]])
    target = PixelTarget(normalize="none", unit_range=False)(video, query, (2, 8, 8))
    assert torch.equal(target[0, 0].view(2, 8, 8, 3), video[0, :, 2:4, 16:24, 16:24].permute(1, 2, 3, 0))


def test_targets_are_float32_for_half_precision_clips():
    target = PixelTarget()(clips().bfloat16(), torch.tensor([[17], [17]]), (2, 8, 8))
    assert target.dtype == torch.float32


def test_masks_come_from_the_objectives_generator():
    mae = tiny(mask_ratio=0.5)
    drawn = []
    for seed in (3, 3, 4):
        mae.generator.manual_seed(seed)
        drawn.append(mae.draw(clips()))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert drawn[0].shape == (2, 8 * 5)  # int(0.5 * 9) = 4 of 9 positions of a frame are dropped


def test_random_masks_are_those_of_mae_st():
    assert tiny(mask="random", mask_ratio=0.9).draw(clips()).shape == (2, 7)  # int(72 * 0.1)


def test_only_visible_tubelets_are_embedded_and_only_dropped_ones_become_targets(monkeypatch):
    counts = []

    def counted(video, size, keep=None, stride=None):
        patches = patchify(video, size, keep, stride)
        counts.append(tuple(patches.shape[:2]))
        return patches

    monkeypatch.setattr("backbones.layers.patchify", counted)
    monkeypatch.setattr("zoo.objectives.mae.patchify", counted)
    tiny(mask_ratio=0.7)(batch_of(clips()))
    assert counts == [(2, 24), (2, 48)]  # int(0.7 * 9) = 6 of 9 dropped, 8 time slots


def test_loss_ignores_what_is_predicted_at_visible_tokens(monkeypatch):
    mae = tiny(mask_ratio=0.5)
    keep = mae.draw(clips())
    replay(mae, keep, monkeypatch)
    prediction, target = mae.predict(clips(), keep)
    total = mae(batch_of(clips())).total
    torch.testing.assert_close(total, (prediction - target).square().mean())
    everywhere = mae.decoder.everywhere(mae.student.forward_features(clips(), keep))
    full_target = mae.target(clips(), torch.arange(72).expand(2, -1), (2, 8, 8))
    assert not torch.isclose(total, (everywhere - full_target).square().mean())


def test_gradient_reaches_every_parameter_of_student_and_decoder():
    mae = tiny()
    mae(batch_of(clips())).total.backward()
    assert [name for name, parameter in mae.named_parameters() if parameter.grad is None] == []
    assert mae.student.patch_embed.proj.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    "architecture",
    [it for it in ARCHITECTURES if it.name.endswith("_pico") and it.family != "adapter"],
    ids=lambda it: it.name,
)
def test_every_family_can_be_the_student(architecture):
    student = architecture.build()
    mae = mae_for(student, 24, 16, decoder_dim=16, decoder_depth=1)
    mae(batch_of(clips(1))).total.backward()
    without = [name for name, parameter in student.named_parameters() if parameter.grad is None]
    assert without == []


def test_loss_is_float32_under_autocast_and_close_to_full_precision(monkeypatch):
    mae = tiny(mask_ratio=0.5)
    replay(mae, mae.draw(clips()), monkeypatch)
    expected = mae(batch_of(clips())).total
    with torch.autocast("cpu", torch.bfloat16):
        actual = mae(batch_of(clips())).total
    assert actual.dtype == torch.float32
    assert actual != expected
    torch.testing.assert_close(actual, expected, rtol=0.01, atol=0)


def test_class_tokens_of_a_student_pass_through_the_decoder():
    mae = mae_for(vit_pico(flavor=MAE_ST, depth=1), 24, 16, decoder_depth=1)
    video = clips()
    features = mae.student.forward_features(video, mae.draw(video))
    query = complement(features.keep, 72)
    states = mae.decoder.states(features, query)
    assert states.shape[1] == 1 + 72
    changed = features._replace(prefix=features.prefix + 1)
    assert not torch.allclose(mae.decoder(changed, query), mae.decoder(features, query))


def test_training_steps_reduce_the_loss(monkeypatch):
    mae = tiny()
    video = clips(4)
    keep = mae.draw(video)
    replay(mae, keep, monkeypatch)
    optimizer = torch.optim.AdamW(mae.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = mae(batch_of(video)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    "target",
    [
        PixelTarget(),
        PixelTarget(normalize="none"),
        PixelTarget(normalize="none", unit_range=False),
        PixelTarget(normalize="patch", mean=(0.3, 0.4, 0.5), std=(0.1, 0.2, 0.3)),
    ],
)
def test_perfect_predictions_reconstruct_the_clip(target, monkeypatch):
    mae = tiny(mask_ratio=0.5, target=target)
    mean, std = (torch.tensor(it)[:, None, None, None] for it in (target.mean, target.std))
    truth = torch.rand(2, 3, 16, 24, 24, generator=torch.Generator().manual_seed(2))
    video = (truth - mean) / std
    keep = mae.draw(video)
    perfect = target(video, complement(keep, 72), (2, 8, 8))
    monkeypatch.setattr(mae, "predict", lambda video, keep: (perfect, perfect))
    picture, kept = mae.reconstruct(batch_of(video), keep)
    assert torch.equal(kept, keep)
    torch.testing.assert_close(picture, truth, rtol=0, atol=1e-5)
    assert ("true patches" in mae.reconstruction_note) == (target.normalize != "none")


def test_reconstruction_shows_visible_pixels_and_predictions_elsewhere():
    mae = tiny(mask_ratio=0.5, target=PixelTarget(normalize="none"))
    nn.init.zeros_(mae.decoder.head.weight)
    nn.init.constant_(mae.decoder.head.bias, 0.25)
    truth = torch.rand(2, 3, 16, 24, 24)
    mean, std = (torch.tensor(it)[:, None, None, None] for it in (IMAGENET_MEAN, IMAGENET_STD))
    picture, keep = mae.reconstruct(batch_of((truth - mean) / std))
    shown, true = patchify(picture, (2, 8, 8)), patchify(truth, (2, 8, 8))
    rows = torch.arange(2)[:, None]
    torch.testing.assert_close(shown[rows, keep], true[rows, keep], rtol=0, atol=1e-6)
    assert (shown[rows, complement(keep, 72)] == 0.25).all()


def test_mae_st_reconstruction_repeats_the_predicted_frame_of_a_tubelet():
    mae = tiny(mask_ratio=0.5, target=MAE_ST_TARGET)
    picture, keep = mae.reconstruct(batch_of(clips()))
    patches = patchify(picture, (2, 8, 8))[torch.arange(2)[:, None], complement(keep, 72)]
    assert torch.equal(patches[:, :, :, 0], patches[:, :, :, 1])


def test_decoder_size_follows_the_student():
    mae = mae_for(vit_pico(), 24, 16)
    assert (mae.decoder.mask_tokens[0].shape[-1], len(mae.decoder.blocks)) == (32, 4)
    assert mae.decoder.table_grid == Grid(8, 3, 3)


def test_students_that_cannot_drop_tokens_and_wrong_decoders_are_refused():
    student = vit_pico()
    decoder = MaskedDecoder(64, 100, Grid(8, 3, 3), width=32, depth=1, num_heads=2)
    with pytest.raises(ValueError, match="predicts 100 values per token, but the target has 384"):
        MAE(student, decoder)
    student.drops_tokens = False
    with pytest.raises(ValueError, match="ViT cannot drop tokens"):
        mae_for(student, 24, 16)


def test_unknown_words_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown mask 'tubes'; choose from \('tube', 'random'\)"):
        tiny(mask="tubes")
    with pytest.raises(ValueError, match="unknown normalisation of targets 'pixel'"):
        PixelTarget(normalize="pixel")
    with pytest.raises(ValueError, match="3 predicted frames do not divide the 2 of a tubelet"):
        tiny(target=PixelTarget(frames_per_token=3))


def test_the_blank_loss_is_what_predicting_zeros_gives():
    objective = mae_for(vit_pico(), 24, 16, mask_ratio=0.5)
    for parameter in objective.decoder.head.parameters():
        torch.nn.init.zeros_(parameter)
    nothing = torch.full((2,), -1)
    loss = objective(Batch(torch.randn(2, 3, 16, 24, 24), nothing, nothing))
    assert loss.logs["blank_loss"].item() == pytest.approx(loss.total.item())
    # Normalised by the unbiased deviation of 2 x 8 x 8 values.
    assert loss.total.item() == pytest.approx(127 / 128, rel=1e-4)
