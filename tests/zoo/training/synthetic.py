"""A tiny backbone, an objective and a data module that train in milliseconds."""

import pytorch_lightning as lightning
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

from backbones.contract import Backbone, Features
from backbones.layers import Block, PatchEmbed3d
from heads.linear import LinearHead
from zoo.batch import Batch
from zoo.model import VideoModel
from zoo.objectives.contract import Loss, Objective, Picture
from zoo.recipes.recipe import Recipe

RECIPE = Recipe(steps=12, global_batch=4, base_lr=0.2, warmup_steps=3, weight_decay=0.05, layer_decay=0.8)


class TinyBackbone(Backbone):
    """Two blocks of width 16 with drop path, so that training draws random numbers."""

    embed_dim, depth, tubelet, pool = 16, 2, (2, 4, 4), "mean"

    def __init__(self, drop_path=0.2):
        super().__init__()
        self.patch_embed = PatchEmbed3d(16, self.tubelet)
        self.blocks = nn.ModuleList(Block(16, 2, drop_path=drop_path) for _ in range(2))
        self.norm = nn.LayerNorm(16)

    def forward_intermediates(self, video, layers, keep=None, *, norm=True):
        grid, x, found = self.grid(video), self.patch_embed(video, keep), {}
        for index in range(self.depth):
            x = self.run_block(index, x)
            found[index] = Features(self.norm(x) if norm else x, x[:, :0], grid, keep)
        return [found[layer] for layer in self.resolve_layers(layers)]


class MeanColour(Objective):
    """Predict the mean of a clip from half of its tokens, which the objective's generator draws."""

    def __init__(self):
        super().__init__()
        self.student = TinyBackbone()
        self.decoder = nn.Linear(16, 1)
        self.steps = []

    def forward(self, batch):
        tokens = self.student.grid(batch.video).num_tokens
        order = torch.rand(len(batch.video), tokens, generator=self.generator).argsort(1)
        keep = order[:, : tokens // 2].sort(1).values.to(batch.video.device)
        answer = self.decoder(self.student.forward_features(batch.video, keep).pool("mean"))
        error = F.mse_loss(answer[:, 0], batch.video.mean((1, 2, 3, 4)))
        return Loss(error, {"error": error.detach(), "answer": answer.detach().mean()})

    def picture(self, batch, pixels):
        return Picture({"shown": pixels}, "the whole clip")

    def after_step(self, step):
        self.steps.append(step)


class Clips(Dataset):
    """Noise that depends on the row; augmentation that depends on (seed, epoch, row)."""

    def __init__(self, rows, num_classes, seed, views=1):
        self.rows, self.num_classes, self.seed, self.views = rows, num_classes, seed, views

    def __len__(self):
        return self.rows * self.views

    def __getitem__(self, position):
        epoch, item = position if isinstance(position, tuple) else (0, position)
        row, _view = divmod(item, self.views)
        label = row % self.num_classes
        clip = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(row)) * 0.3
        clip[:, :, label % 8] += 2.0
        noise = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(hash((self.seed, epoch, item))))
        return clip + 0.1 * noise, label, row


class Stream(Sampler):
    """Endless batches of (epoch, row): one permutation after the other, from a step on."""

    def __init__(self, rows, batch_size, seed, start):
        self.rows, self.batch_size, self.seed, self.start = rows, batch_size, seed, start

    def __iter__(self):
        position = self.start * self.batch_size
        while True:
            batch = []
            for place in range(position, position + self.batch_size):
                epoch, index = divmod(place, self.rows)
                order = torch.randperm(self.rows, generator=torch.Generator().manual_seed(hash((self.seed, epoch))))
                batch.append((epoch, int(order[index])))
            yield batch
            position += self.batch_size


def collate(items):
    clips, labels, rows = zip(*items, strict=True)
    return Batch(torch.stack(clips), torch.tensor(labels), torch.tensor(rows))


class TinyData(lightning.LightningDataModule):
    def __init__(self, batch_size=4, num_workers=0, seed=0, rows=10, num_classes=4, views=1):
        super().__init__()
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.rows, self.num_classes, self.views = rows, num_classes, views

    def train_dataloader(self):
        start = self.trainer.global_step * self.trainer.accumulate_grad_batches
        return DataLoader(
            Clips(self.rows, self.num_classes, self.seed),
            batch_sampler=Stream(self.rows, self.batch_size, self.seed, start),
            num_workers=self.num_workers,
            collate_fn=collate,
        )

    def val_dataloader(self):
        return self.test_dataloader()

    def test_dataloader(self):
        clips = Clips(self.rows, self.num_classes, self.seed, self.views)
        return DataLoader(clips, batch_size=self.batch_size, collate_fn=collate)


def tiny_model(num_classes=4):
    return VideoModel(TinyBackbone(), LinearHead(16, num_classes, pool="mean"))
