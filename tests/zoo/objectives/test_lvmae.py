import pytest
import torch
from torch import nn

from backbones.importance import AdaptiveTokenizer, ImportanceScorer
from backbones.layers import Flavor
from backbones.vit import vit_pico
from heads.masked_decoder import MaskedDecoder
from tests.backbones.toy_tokenizer import ToyTokenizer
from zoo.batch import Batch
from zoo.cards import ARCHITECTURES
from zoo.decoder_masks import STRATEGIES, Budget, DecoderMasking
from zoo.objectives.lvmae import LVMAE, TARGETS, lvmae_for
from zoo.objectives.mae import MAE, PixelTarget
from zoo.recipes.recipe import Recipe
from zoo.training.pretrain import Pretrain, fingerprint

RANDOM = DecoderMasking(strategy="random")
TINY = {"width": 16, "depth": 1, "num_heads": 2}


class Widened(ToyTokenizer):
    def up_project(self, codes):
        return codes.repeat_interleave(2, -1)


class Coarse(ToyTokenizer):
    tubelet = (2, 16, 16)


def clips(count: int = 2, frames: int = 16, side: int = 24) -> torch.Tensor:
    return torch.randn(count, 3, frames, side, side, generator=torch.Generator().manual_seed(1))


def batch_of(video: torch.Tensor, rows=None) -> Batch:
    rows = torch.arange(len(video)) if rows is None else torch.tensor(rows)
    return Batch(video, torch.full((len(video),), -1), rows)


def tiny(student=None, tokenizer=None, frames: int = 16, side: int = 24, **options) -> LVMAE:
    torch.manual_seed(0)
    student = student or vit_pico(depth=1, num_frames=frames, img_size=side)
    made = {"mask_ratio": 0.7, "decoder": TINY, **options}
    return lvmae_for(student, tokenizer or Widened(bits=4), side, frames, **made)


def test_the_decoder_sees_visible_tokens_and_the_budget_alone():
    objective, lengths = tiny(), []
    objective.decoder.blocks[0].attn.register_forward_hook(lambda _, inputs, out: lengths.append(inputs[0].shape[1]))
    objective.student.blocks[0].attn.register_forward_hook(lambda _, inputs, out: lengths.append(inputs[0].shape[1]))
    logs = objective(batch_of(clips())).logs
    # 72 tokens, int(0.7 * 9) = 6 of 9 positions hidden: 24 visible; 15 % are 11.
    assert lengths == [24, 24 + 11]
    assert logs["decoded"].item() == pytest.approx(11 / 72)
    assert 0 < logs["counted"] <= 11
    assert logs["overlap"].item() == pytest.approx(1 - logs["counted"].item() / 11)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("target", ["fsq_code", "pixels"])
def test_every_strategy_trains(strategy, target):
    source = {row: torch.rand(8, 3, 3) for row in range(2)} if strategy == "precomputed" else None
    masking = DecoderMasking(strategy=strategy, budget=Budget(total=0.3))
    objective = tiny(masking=masking, source=source, target=target)
    loss = objective(batch_of(clips()))
    loss.total.backward()
    assert [name for name, it in objective.named_parameters() if it.grad is None] == []
    assert loss.total.isfinite()


@pytest.mark.parametrize("target", TARGETS)
def test_only_decoded_tokens_that_the_encoder_does_not_see_count(target, monkeypatch):
    objective, batch = tiny(target=target), batch_of(clips())
    draw = objective.draw(batch)
    assert (draw.counted == ~(draw.query[:, :, None] == draw.keep[:, None]).any(2)).all()
    draw = draw._replace(counted=draw.counted & (torch.arange(11) != 4))
    monkeypatch.setattr(objective, "draw", lambda batch: draw)
    before = objective(batch)
    prediction, truth = objective.predict(batch.video, draw)
    prediction.retain_grad()
    spoilt = torch.where(draw.counted[..., None], truth, 0 if target == "indices_ce" else 1e6)
    monkeypatch.setattr(objective, "predict", lambda video, draw: (prediction, spoilt))
    after = objective(batch)
    torch.testing.assert_close(after.total, before.total)
    torch.testing.assert_close(after.logs["blank_loss"], before.logs["blank_loss"])
    after.total.backward()
    assert ((prediction.grad != 0).any(-1) == draw.counted).all()
    expected = objective.errors(prediction, truth)[draw.counted].mean()
    torch.testing.assert_close(before.total, expected)


def test_a_clip_whose_decoded_tokens_are_all_seen_gives_zero_and_not_nan(monkeypatch):
    objective, batch = tiny(), batch_of(clips())
    draw = objective.draw(batch)
    monkeypatch.setattr(objective, "draw", lambda batch: draw._replace(counted=torch.zeros_like(draw.counted)))
    loss = objective(batch)
    assert (loss.total.item(), loss.logs["blank_loss"].item(), loss.logs["overlap"].item()) == (0, 0, 1)


@pytest.mark.parametrize(
    "masking",
    [DecoderMasking(strategy="random", budget=Budget(total=1.0), disjoint=True), DecoderMasking(strategy="none")],
)
def test_the_whole_budget_is_videomae(masking, monkeypatch):
    objective, batch = tiny(target="pixels", masking=masking), batch_of(clips())
    draw = objective.draw(batch)
    monkeypatch.setattr(objective, "draw", lambda batch: draw)
    mae = MAE(objective.student, objective.decoder, mask_ratio=0.7)
    monkeypatch.setattr(mae, "draw", lambda video: draw.keep)
    torch.testing.assert_close(objective(batch).total, mae(batch).total, rtol=0, atol=1e-6)


def test_decoded_tokens_do_not_depend_on_the_rest_of_the_batch():
    objective, video = tiny(masking=RANDOM), clips(3)
    drawn = []
    for rows, part in (([7, 8, 9], video), ([8, 7, 8], video[:1].expand(3, -1, -1, -1, -1))):
        objective.generator.manual_seed(3)
        drawn.append(objective.draw(batch_of(part, rows)).query)
    assert torch.equal(drawn[0][1], drawn[1][0])
    assert torch.equal(drawn[0][0], drawn[1][1])
    assert not torch.equal(drawn[1][0], drawn[1][2]), "copies of a clip share their mask"
    objective.generator.manual_seed(4)
    assert not torch.equal(drawn[0], objective.draw(batch_of(video, [7, 8, 9])).query)


def test_the_tokenizer_sees_pixels_in_unit_range_and_whole_codes():
    tokenizer = AdaptiveTokenizer(Widened(bits=4), ImportanceScorer((2, 8, 8), hidden=4, dim=2), keep_tokens=20)
    objective = tiny(tokenizer=tokenizer, pixels=PixelTarget(mean=(0.3, 0.4, 0.5), std=(0.1, 0.2, 0.3)))
    truth = torch.rand(2, 3, 16, 24, 24)
    mean, std = (torch.tensor(it).view(3, 1, 1, 1) for it in ((0.3, 0.4, 0.5), (0.1, 0.2, 0.3)))
    batch = batch_of((truth - mean) / std)
    codes = objective.encode(batch.video)
    torch.testing.assert_close(codes.latents, tokenizer.tokenizer.latents(truth), rtol=0, atol=1e-5)
    draw = objective.draw(batch)
    torch.testing.assert_close(draw.scores, tokenizer.importance(truth), rtol=0, atol=1e-5)
    best = draw.scores.flatten(1).argsort(1, descending=True)[:, :7]  # 11 tokens, a third of them at random
    assert [set(row[flag].tolist()) for row, flag in zip(draw.query, draw.ranked, strict=True)] == [
        set(row) for row in best.tolist()
    ]


def test_a_still_clip_is_decoded_at_random_tokens():
    tokenizer = AdaptiveTokenizer(Widened(bits=4), ImportanceScorer((2, 8, 8), hidden=4, dim=2))
    still = clips()[:, :, :1].expand(-1, -1, 16, -1, -1)
    with pytest.warns(UserWarning, match=r"not finite in samples \[0, 1\]"):
        loss = tiny(tokenizer=tokenizer)(batch_of(still))
    assert loss.total.isfinite()


def test_the_frozen_tokenizer_stays_outside():
    tokenizer = Widened(bits=4)
    before = fingerprint(tokenizer)
    objective = tiny(tokenizer=tokenizer)
    module = Pretrain(objective, Recipe(steps=2, global_batch=2, base_lr=1.0))
    optimizer = module.configure_optimizers()
    objective(batch_of(clips())).total.backward()
    optimizer.step()
    assert all(it.grad is None for it in tokenizer.parameters())
    assert fingerprint(tokenizer) == before
    ours = {id(it) for it in tokenizer.parameters()}
    assert not ours & {id(it) for group in optimizer.param_groups for it in group["params"]}
    assert not [name for name in module.state_dict() if "tokenizer" in name]
    assert module.identity()["outside"] == {"tokenizer": before}


def test_a_source_of_flow_is_recorded_and_asked():
    class Given(nn.Module):
        def forward(self, video, tubelet):
            return torch.arange(72.0).view(1, 8, 3, 3).expand(len(video), -1, -1, -1)

    objective = tiny(masking=DecoderMasking(strategy="flow"), source=Given())
    draw = objective.draw(batch_of(clips()))
    assert draw.query[draw.ranked].view(2, 7).tolist() == [list(range(65, 72))] * 2
    assert set(objective.outside) == {"tokenizer", "flow"}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("strategy", ["learned", "random"])
def test_pictures_show_scores_decoded_tokens_and_predictions(target, strategy):
    objective = tiny(target=target, masking=DecoderMasking(strategy=strategy))
    video = clips()
    pixels = objective.pixels.to_unit_range(video).clamp(0, 1)
    picture = objective.picture(batch_of(video), pixels)
    scores = ["scores"] if strategy == "learned" else []
    codes = [] if target == "pixels" else ["tokenizer"]
    assert list(picture.panels) == ["shown", *scores, "decoded", *codes, "predicted"]
    for panel in picture.panels.values():
        assert panel.shape == video.shape
        assert panel.amin() >= 0
        assert panel.amax() <= 1
    assert strategy in picture.note
    if scores:
        assert picture.panels["scores"].amax() == 1


@pytest.mark.parametrize(
    "architecture",
    [it for it in ARCHITECTURES if it.name.endswith("_pico") and it.family not in ("adapter", "teacher")],
    ids=lambda it: it.name,
)
def test_every_family_can_be_the_student(architecture):
    student = architecture.build()
    tokenizer = Widened(bits=4)
    if student.tubelet[0] == 1:
        tokenizer.tubelet = (1, 8, 8)
        tokenizer.project, tokenizer.back = nn.Linear(192, 4), nn.Linear(4, 192)
    objective = tiny(student, tokenizer)
    objective(batch_of(clips(1))).total.backward()
    assert [name for name, parameter in student.named_parameters() if parameter.grad is None] == []


def test_the_decoder_follows_the_student_where_nothing_is_said():
    objective = lvmae_for(vit_pico(), Widened(bits=4), 24, 16)
    assert (objective.decoder.mask_tokens[0].shape[-1], len(objective.decoder.blocks)) == (32, 4)
    assert objective.decoder.head.out_features == 4


@pytest.mark.parametrize(
    ("target", "steps", "share"),
    [
        ("fsq_code", 8, 0.9),
        pytest.param("fsq_code", 30, 0.7, marks=pytest.mark.slow),
        pytest.param("pixels", 30, 0.85, marks=pytest.mark.slow),
    ],
)
def test_the_loss_falls_on_long_clips(target, steps, share):
    student = vit_pico(depth=1, embed_dim=32, num_frames=32, img_size=64, patch_size=16)
    objective = tiny(student, frames=32, side=64, target=target, tokenizer=Coarse(bits=4), mask_ratio=0.9)
    ramp = torch.linspace(-1, 1, 64)
    video = (ramp[:, None] * ramp).expand(1, 3, 32, 64, 64) + 0.1 * clips(1, 32, 64)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=5e-3)
    losses = []
    for _ in range(steps):
        objective.generator.manual_seed(0)
        loss = objective(batch_of(video)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < share * losses[0]


def test_what_does_not_fit_is_refused():
    student, tokenizer = vit_pico(), Widened(bits=4)
    with pytest.raises(ValueError, match=r"unknown target 'rgb'; choose from \('fsq_code'"):
        tiny(target="rgb")
    with pytest.raises(ValueError, match="target 'fsq_code' needs a tokenizer"):
        lvmae_for(student, None, 24, 16)
    with pytest.raises(ValueError, match="strategy 'learned' needs a tokenizer"):
        lvmae_for(student, None, 24, 16, target="pixels")
    assert lvmae_for(student, None, 24, 16, target="pixels", masking=RANDOM).outside == {}
    with pytest.raises(ValueError, match="strategy 'precomputed' needs a source"):
        tiny(masking=DecoderMasking(strategy="precomputed"))
    with pytest.raises(ValueError, match="a source of type dict means nothing to strategy 'random'"):
        tiny(masking=RANDOM, source={})
    with pytest.raises(ValueError, match=r"\(2, 8, 8\) pixels, the student's tokens for \(1, 8, 8\)"):
        tiny(vit_pico(tubelet_size=1))
    tokenizer.causal = True
    with pytest.raises(ValueError, match="the first frame alone, the student's tokens"):
        tiny(tokenizer=tokenizer)
    decoder = MaskedDecoder(64, 7, student.grid(clips()), **TINY)
    with pytest.raises(ValueError, match="predicts 7 values per token, but target 'fsq_code' has 4"):
        LVMAE(student, decoder, Widened(bits=4))
    with pytest.raises(ValueError, match="unknown mask 'tubes'"):
        LVMAE(student, decoder, Widened(bits=4), mask="tubes")
    student.drops_tokens = False
    with pytest.raises(ValueError, match="ViT cannot drop tokens"):
        tiny(student)


def explained(objective: LVMAE, batch: Batch, steps: int) -> float:
    """Share of the best constant guess's loss that predictions save after some steps on one batch."""
    optimizer = torch.optim.AdamW(objective.parameters(), lr=5e-3, betas=(0.9, 0.95))
    for _ in range(steps):
        loss = objective(batch)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    return 1 - (loss.total / loss.logs["blank_loss"]).item()


@pytest.mark.slow  # 5 s
@pytest.mark.parametrize("target", ["fsq_code", "pixels"])
def test_a_fixed_batch_is_learned_by_heart(target, monkeypatch):
    objective, batch = tiny(target=target), batch_of(clips(4))
    draw = objective.draw(batch)
    monkeypatch.setattr(objective, "draw", lambda batch: draw)
    assert explained(objective, batch, 200) > 0.5


@pytest.mark.slow  # 5 s
def test_a_decoder_that_is_told_places_learns_what_depends_on_them_alone():
    colors = torch.randn(1, 3, 1, 3, 3, generator=torch.Generator().manual_seed(2)).repeat(4, 1, 16, 1, 1)
    batch = batch_of(colors.repeat_interleave(8, 3).repeat_interleave(8, 4))
    masking = DecoderMasking(strategy="random", budget=Budget(total=0.3))
    told = {**TINY, "flavor": Flavor(positions="vjepa")}
    assert explained(tiny(masking=masking, decoder=told), batch, 150) > 0.5
