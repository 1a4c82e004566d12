"""Whole training steps of V-JEPA and V-JEPA 2 against the authors', through our training module."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as lightning
import torch
from torch.utils.data import DataLoader

from tests.support import assert_parity, load, part
from tests.vjepa import PREFIX, STEMS, fill, layout, loaded_encoder, loaded_predictor, use_stem, zoo_state
from zoo.batch import Batch
from zoo.cards import vjepa as card
from zoo.ema import LinearMomentum
from zoo.multiblock import LONG_RANGE, SHORT_RANGE, Split
from zoo.objectives.vjepa import VJEPA
from zoo.recipes.recipe import Recipe
from zoo.training.checkpoint import Checkpoints
from zoo.training.fit import Hardware, quiet, trainer_of
from zoo.training.optim import Placement, param_groups
from zoo.training.pretrain import Pretrain


class Replayed(VJEPA):
    """V-JEPA with given masks, which remembers what it predicts."""

    def replay(self, splits: list[list[Split]], tokens: list[list[int]]) -> None:
        self.given, self.tokens, self.seen = iter(splits), iter(tokens), []

    def draw(self, video: torch.Tensor) -> list[Split]:
        self.mask_tokens = next(self.tokens)
        return next(self.given)

    def predict(self, video: torch.Tensor, splits: list[Split], mask_tokens: Any = None) -> list:
        self.seen.append(super().predict(video, splits, mask_tokens))
        return self.seen[-1]


class Clips(lightning.LightningDataModule):
    def __init__(self, clips: list[torch.Tensor]) -> None:
        super().__init__()
        self.clips = clips

    def train_dataloader(self) -> DataLoader:
        label = torch.zeros(2, dtype=torch.int64)
        return DataLoader([Batch(clip, label, torch.arange(2)) for clip in self.clips], batch_size=None)


class Watch(lightning.Callback):
    """Gradients of each step, and what was logged of it."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.logs: list[dict[str, torch.Tensor]] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        named = pl_module.objective.named_parameters()
        self.gradients.append({name: it.grad.clone() for name, it in named if it.grad is not None})

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step > len(self.logs):
            self.logs.append(pl_module.last_logs)


def recipe_of(options: dict[str, Any], accumulate: int) -> Recipe:
    epoch = options["iterations_per_epoch"]
    return Recipe(
        steps=epoch * options["num_epochs"],
        global_batch=256,
        accumulate=accumulate,
        base_lr=options["ref_lr"],
        base_final_lr=options["final_lr"],
        base_warmup_lr=options["start_lr"],
        warmup_steps=epoch * options["warmup"],
        schedule="vjepa_cosine",
        stretch=options["ipe_scale"],
        weight_decay=options["wd"],
        final_weight_decay=options["final_wd"],
    )


def plain_adamw(placements: list[Placement], recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over the recipe's groups without a fused kernel."""
    groups = param_groups(placements, weight_decay=recipe.weight_decay)
    return torch.optim.AdamW(groups, lr=1.0, betas=recipe.betas, eps=recipe.eps, foreach=False)


def trained(
    side: dict, tensors: dict[str, torch.Tensor], groups: list[list[str]], run_dir: Path
) -> tuple[Replayed, Watch]:
    """The objective after the fixture's steps; `groups` names the batches of each step, such as "0" or "0.1"."""
    encoder, run = side["constructor"]["encoder"], side["run_kwargs"]
    recipe = recipe_of(run["opt"], len(groups[0]))
    start, final = (float(it) for it in run["ema"])
    objective = Replayed(
        loaded_encoder(encoder, tensors),
        loaded_predictor(side["constructor"]["predictor"], tensors),
        (SHORT_RANGE, LONG_RANGE),
        momentum=LinearMomentum(start=start, final=final, steps=int(recipe.stretch * recipe.steps)),
        exponent=run["loss_exp"],
    )
    fill(objective.target.network, zoo_state(part(tensors, f"sd/target_encoder/{PREFIX}"), layout(encoder)), "backbone")
    places = [place for step in groups for place in step]
    splits = [
        [Split(tensors[f"in.masks_enc.{place}.{index}"], tensors[f"in.masks_pred.{place}.{index}"]) for index in (0, 1)]
        for place in places
    ]
    # V-JEPA 2 chooses the token by the group of clips of one length.
    tokens = [[int(place[2:])] * 2 if "." in place else [0, 1] for place in places]
    objective.replay(splits, tokens)
    watch, module = Watch(), Pretrain(objective, recipe)
    hardware = Hardware(accelerator="cpu")
    short = Recipe(steps=len(groups), global_batch=256, base_lr=0.0, accumulate=recipe.accumulate)
    with quiet():
        trainer_of(short, [watch, Checkpoints(run_dir, every=0)], validate_every=0, hardware=hardware).fit(
            module.train(), Clips([tensors[f"in.clips.{it}"] for it in places])
        )
    return objective, watch


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize(
    ("name", "groups"),
    [("v1_train_step", [["0"], ["1"]]), ("v2_train_step", [["0.0", "0.1"], ["1.0", "1.1"]])],
)
def test_training_steps_equal_the_authors_in_loss_gradient_and_every_weight(name, groups, stem, monkeypatch, tmp_path):
    tolerance = use_stem(stem, monkeypatch)
    side, tensors = load(f"vjepa/{name}")
    # Adam divides gradients by their size, so rounding shows in the weights where gradients are next to nothing (key
    # biases have none at all). With the authors' kernels, PyTorch's plain AdamW among them, and on a processor like
    # theirs every weight is within the fixture's tolerance; on an AMD EPYC one in a thousand differs by 1e-5.
    of_weights = 5e-5
    if tolerance is None:
        monkeypatch.setattr("zoo.training.module.adamw", plain_adamw)
    tolerance = tolerance or side["tolerance"]
    objective, watch = trained(side, tensors, groups, tmp_path)

    def same(key: str, actual: torch.Tensor, expected: torch.Tensor, atol: float = tolerance) -> None:
        assert_parity(f"vjepa/{name} {key} ({stem})", actual, expected, rtol=atol, atol=atol)

    for step, batches in enumerate(groups):
        out, logs, gradients = part(tensors, f"out.steps.{step}."), watch.logs[step], watch.gradients[step]
        for ours, theirs in (("lr", "lr"), ("weight_decay", "wd")):
            torch.testing.assert_close(logs[ours], out[theirs], rtol=1e-12, atol=0)
        assert objective.momentum(step + 1) == pytest.approx(out["momentum"].item(), rel=1e-12)
        same(f"loss {step}", logs["loss"], out["loss"])
        for prefix, key in (("student", "encoder"), ("predictor", "predictor")):
            norm = torch.stack([it.norm() for name, it in gradients.items() if name.startswith(prefix)]).norm()
            same(f"{key}_grad_norm {step}", norm, out[f"{key}_grad_norm"])
        for number, place in enumerate(batches):
            suffix = place.partition(".")[2]
            for index, (prediction, target) in enumerate(objective.seen[step * len(batches) + number]):
                key = f"{suffix}.{index}" if suffix else f"{index}"
                same(f"pred {step}.{key}", prediction.detach(), out[f"pred.{key}"])
                same(f"targets {step}.{key}", target, out[f"targets.{key}"])
    for key, ours in (
        ("encoder_patch_proj_weight", "student.patch_embed.proj.weight"),
        ("encoder_block0_qkv_weight", "student.blocks.0.attn.qkv.weight"),
        ("predictor_embed_weight", "predictor.embed.weight"),
        ("mask_token_0", "predictor.mask_tokens.0"),
    ):
        if (expected := tensors.get(f"out.steps.0.grads.{key}")) is not None:
            same(f"gradient of {key}", watch.gradients[0][ours], expected)
    for theirs, network, converter, namespace in (
        ("encoder", objective.student, layout(side["constructor"]["encoder"]), "backbone"),
        ("target_encoder", objective.target.network, layout(side["constructor"]["encoder"]), "backbone"),
        ("predictor", objective.predictor, card.OFFICIAL_PREDICTOR, "decoder"),
    ):
        after = part(tensors, f"out.after.{theirs}.backbone/")
        if not after:  # the second fixture has none of the predictor
            continue
        after = {key.replace("/", "."): it for key, it in after.items()}
        expected = part(converter.to_zoo(after).state, f"{namespace}.")
        actual = network.state_dict()
        assert actual.keys() == expected.keys()
        flat = [torch.cat([state[key].flatten() for key in expected]) for state in (actual, expected)]
        same(f"{theirs} after the steps", *flat, of_weights)
