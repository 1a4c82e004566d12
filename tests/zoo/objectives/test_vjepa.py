import copy
from dataclasses import replace

import pytest
import torch

from backbones.contract import Grid
from backbones.layers import Flavor
from backbones.timesformer import timesformer_joint_pico, timesformer_pico
from backbones.tokens import take
from backbones.videomamba import videomamba_pico
from backbones.vit import vit_pico
from backbones.vjepa import vjepa2_giant, vjepa2_pico, vjepa_huge, vjepa_pico
from heads.masked_decoder import MaskedDecoder
from zoo.batch import Batch
from zoo.cards.vjepa import PREDICTORS
from zoo.ema import LinearMomentum
from zoo.multiblock import LONG_RANGE, SHORT_RANGE, Split
from zoo.objectives.vjepa import PREDICTOR_2, VJEPA, PredictorForm, vjepa_for

SMALL = PredictorForm(width=24, depth=1, num_heads=2, flavor=Flavor(positions="vjepa", qkv_bias="qkv"))
ROTARY = replace(SMALL, flavor=Flavor(positions="rotary", qkv_bias="qkv"))


def batch_of(count: int = 2) -> Batch:
    video = torch.randn(count, 3, 16, 24, 24, generator=torch.Generator().manual_seed(1))
    return Batch(video, torch.zeros(count, dtype=torch.int64), torch.arange(count))


def tiny(student=None, **options) -> VJEPA:
    torch.manual_seed(0)
    return vjepa_for(student or vjepa_pico(depth=2), 24, 16, steps=10, **{"predictor": SMALL, **options})


def seeded(objective: VJEPA, seed: int = 0) -> VJEPA:
    objective.generator.manual_seed(seed)
    return objective


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (vjepa_pico, {}),
        (timesformer_pico, {"mask": "tube", "tube_ratio": 0.6}),
        (videomamba_pico, {"predictor": ROTARY, "truncation": "random"}),
        pytest.param(vjepa2_pico, {"predictor": ROTARY}, marks=pytest.mark.slow),
        pytest.param(vit_pico, {}, marks=pytest.mark.slow),
        pytest.param(timesformer_joint_pico, {}, marks=pytest.mark.slow),
        pytest.param(timesformer_pico, {"truncation": "tube"}, marks=pytest.mark.slow),
        pytest.param(videomamba_pico, {}, marks=pytest.mark.slow),
    ],
    ids=lambda it: getattr(getattr(it, "func", it), "__name__", str(it)),
)
def test_any_backbone_that_drops_tokens_learns(build, options):
    objective = seeded(tiny(build(depth=2), **options))
    batch, optimizer = batch_of(4), torch.optim.AdamW(objective.parameters(), lr=1e-3)
    losses = []
    for step in range(1, 9):
        loss = seeded(objective)(batch)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        objective.after_step(step)
        losses.append(loss.total.item())
    assert losses[-1] < losses[0]
    missing = [name for name, it in objective.named_parameters() if it.requires_grad and it.grad is None]
    assert missing == []


def test_divided_attention_is_told_what_masks_it_needs():
    with pytest.raises(ValueError, match="use a tube mask"):
        seeded(tiny(timesformer_pico(depth=1)))(batch_of(4))


def test_the_loss_by_its_definition():
    objective, batch = seeded(tiny()), batch_of()
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        loss = seeded(objective)(batch)
        splits = seeded(objective).draw(batch.video)
        total, blank, spread = [], [], []
        tokens = objective.target.network.forward_features(batch.video).tokens
        normed = (tokens - tokens.mean(-1, keepdim=True)) / (tokens.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        for number, (keep, query) in enumerate(splits):
            features = objective.student.forward_features(batch.video, keep)
            prediction, target = objective.predictor(features, query, number), take(normed, query)
            total.append((prediction - target).abs().mean())
            rows = target.flatten(0, 1)
            middle = rows.sort(0).values[(len(rows) - 1) // 2]
            assert (rows - middle).abs().mean() <= min((rows - middle - it).abs().mean() for it in (-0.01, 0.01))
            blank.append((rows - middle).abs().mean())
            spread.append((target - target.mean((0, 1))).square().mean().sqrt())
    torch.testing.assert_close(loss.total, torch.stack(total).mean())
    torch.testing.assert_close(loss.logs["blank_loss"], torch.stack(blank).mean())
    torch.testing.assert_close(loss.logs["target_std"], torch.stack(spread).mean())


def test_other_exponents_and_the_variance_penalty():
    torch.manual_seed(0)
    predictions, target = (
        [0.1 * torch.randn(2, 7, 5), 0.2 * torch.randn(2, 9, 5)],
        [torch.zeros(2, 7, 5), torch.zeros(2, 9, 5)],
    )
    objective = tiny()
    objective.exponent, objective.variance_weight = 2.0, 0.5
    loss = objective.loss(list(zip(predictions, target, strict=True)))
    error = sum(it.square().mean() / 2 for it in predictions) / 2
    deviation = sum((it.var(1) + 1e-4).sqrt() for it in predictions) / 2
    penalty = (1 - deviation).clamp(min=0).mean()
    torch.testing.assert_close(loss.logs["variance_penalty"], penalty)
    torch.testing.assert_close(loss.total, error + 0.5 * penalty)


def test_collapsed_targets_show_in_the_logs():
    objective = tiny()
    with torch.no_grad():
        objective.target.network.norm.weight.zero_()
        objective.target.network.norm.bias.normal_()
    logs = seeded(objective)(batch_of()).logs
    assert logs["target_std"] < 1e-5
    assert logs["blank_loss"] < 1e-5
    assert seeded(tiny())(batch_of()).logs["target_std"] > 0.1


def test_only_visible_tokens_reach_the_student_and_whole_clips_the_target():
    objective, batch = seeded(tiny()), batch_of()
    seen = {"student": [], "target": []}
    objective.student.norm.register_forward_hook(lambda *it: seen["student"].append(it[2].shape[1]))
    objective.target.network.norm.register_forward_hook(lambda *it: seen["target"].append(it[2].shape[1]))
    splits = seeded(objective).draw(batch.video)
    seeded(objective)(batch)
    assert seen == {"student": [split.keep.shape[1] for split in splits], "target": [72]}


def test_gradients_reach_student_and_predictor_and_never_the_target():
    objective = seeded(tiny())
    objective(batch_of()).total.backward()
    assert all(it.grad is None for it in objective.target.parameters())
    learned = [*objective.student.named_parameters(), *objective.predictor.named_parameters()]
    assert [name for name, it in learned if it.grad is None] == []


def test_the_target_follows_the_student_at_the_momentum_of_the_step():
    objective = tiny()
    before = copy.deepcopy(objective.target.network.norm.bias)
    with torch.no_grad():
        objective.student.norm.bias.add_(1)
    objective.after_step(3)
    momentum = 0.998 + 2 * 0.002 / 12
    assert objective.momentum(3) == pytest.approx(momentum)
    torch.testing.assert_close(objective.target.network.norm.bias, before + (1 - momentum), rtol=1e-4, atol=1e-7)


def test_target_is_part_of_the_state_dict_and_stays_in_evaluation_mode():
    objective = tiny(vjepa_pico(depth=2, drop_path_rate=0.5)).train()
    assert objective.student.training
    assert not objective.target.network.training
    names = {name.removeprefix("target.network.") for name in objective.state_dict() if name.startswith("target.")}
    assert names == set(objective.student.state_dict())


def test_masks_come_from_the_objectives_generator_only():
    objective, video = tiny(), batch_of().video
    one = seeded(objective).draw(video)
    torch.manual_seed(3)
    same, other = seeded(objective).draw(video), seeded(objective, 1).draw(video)
    assert all(torch.equal(a, b) for x, y in zip(one, same, strict=True) for a, b in zip(x, y, strict=True))
    assert any(
        a.shape != b.shape or not torch.equal(a, b)
        for x, y in zip(one, other, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def test_sizes_of_cuboids_follow_the_steps_taken_on_every_process_and_after_a_restart():
    counters: list[int] = []

    class Recording:
        def __call__(self, grid: Grid, batch: int, generator: torch.Generator, *, counter: int) -> Split:
            counters.append(counter)
            return LONG_RANGE(grid, batch, generator, counter=counter)

    def process(state: dict, seed: int) -> dict:
        objective = seeded(tiny(), seed)
        objective.load_state_dict(state)
        objective.masks = (Recording(), Recording())
        for _ in range(3):
            objective.draw(batch_of().video)
            objective.after_step(objective.steps.taken + 1)
        return objective.state_dict()

    start = tiny().state_dict()
    process(process(start, seed=1), seed=2)
    assert counters == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_each_mask_has_its_token_and_a_caller_may_choose_others():
    objective, video = tiny(), batch_of().video
    with torch.no_grad():
        for token in objective.predictor.mask_tokens:
            token.normal_()
    splits = seeded(objective).draw(video)
    assert objective.mask_tokens == [0, 1]
    (_, own), (first, other) = (
        [pair[0] for pair in objective.predict(video, splits, tokens)] for tokens in (None, [0, 0])
    )
    assert torch.equal(objective.predict(video, splits)[0][0], first)
    assert not torch.allclose(own, other)


def predictor(**options) -> MaskedDecoder:
    return MaskedDecoder(64, 64, Grid(8, 3, 3), **{"width": 24, "depth": 1, "num_heads": 2, **options})


def built(head: MaskedDecoder, **options) -> VJEPA:
    momentum = LinearMomentum(start=0.9, final=1.0, steps=10)
    return VJEPA(vjepa_pico(depth=1), head, (SHORT_RANGE, LONG_RANGE), momentum=momentum, **options)


def test_tokens_are_used_again_when_there_are_fewer_than_masks():
    assert built(predictor()).mask_tokens == [0, 0]
    assert built(predictor(num_mask_tokens=10), mask_tokens=(3, 3)).mask_tokens == [3, 3]


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match=r"mask tokens \[0, 1\]; the predictor has 1"):
        built(predictor(), mask_tokens=(0, 1))
    with pytest.raises(ValueError, match="gives 32 channels, but the targets have 64"):
        VJEPA(
            vjepa_pico(depth=1),
            MaskedDecoder(64, 32, Grid(8, 3, 3), width=24, depth=1, num_heads=2),
            (SHORT_RANGE,),
            momentum=LinearMomentum(start=0.9, final=1.0, steps=10),
        )
    with pytest.raises(ValueError, match="'blocks'; choose from"):
        tiny(mask="blocks")
    student = vjepa_pico(depth=1)
    student.drops_tokens = False
    with pytest.raises(ValueError, match="cannot drop tokens"):
        tiny(student)


@pytest.mark.parametrize(("build", "card"), [(vjepa_huge, "vjepa_huge_16_224"), (vjepa2_giant, "vjepa2_giant_16_256")])
def test_predictors_and_momenta_are_the_published_ones(build, card):
    second = card.startswith("vjepa2")
    options = {"predictor": PREDICTOR_2, "mask_tokens": (0, 0)} if second else {}
    with torch.device("meta"):
        student = build(depth=1, img_size=32, num_frames=4)
        objective = vjepa_for(student, 32, 4, steps=100, **options)
        published = MaskedDecoder(student.embed_dim, student.embed_dim, Grid(2, 2, 2), **PREDICTORS[card])
    shapes = {name: it.shape for name, it in objective.predictor.state_dict().items()}
    assert shapes == {name: it.shape for name, it in published.state_dict().items()}
    assert objective.predictor.blocks[0].attn.num_heads == published.blocks[0].attn.num_heads
    assert objective.predictor.decay_mask_tokens
    assert objective.momentum == LinearMomentum(start=0.998, final=1.0, steps=125)
    assert objective.masks == (SHORT_RANGE, LONG_RANGE)


def test_mask_tokens_that_no_mask_uses_are_not_trained():
    objective = tiny(predictor=replace(SMALL, num_mask_tokens=4), mask_tokens=(2, 2))
    assert [it.requires_grad for it in objective.predictor.mask_tokens] == [False, False, True, False]


def test_sizes_below_one_are_refused_at_once():
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        vjepa_for(vjepa_pico(depth=1), 24, 16, steps=0)
    with pytest.raises(ValueError, match=r"PredictorForm\.depth must be at least 1, not 0"):
        PredictorForm(depth=0)
