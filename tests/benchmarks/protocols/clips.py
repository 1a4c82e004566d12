"""A small set of clips that a small backbone can learn, behind the real data module."""

import numpy as np
import torch

from heads.linear import LinearHead
from tests.zoo.training.synthetic import TinyBackbone
from zoo.card import ClipSpec
from zoo.data.cache import Entry, FrameCache
from zoo.data.datamodule import VideoDataModule
from zoo.data.records import Record
from zoo.data.transforms import Augment
from zoo.model import VideoModel

CLASSES = 3
SPEC = ClipSpec(num_frames=4, sampling="uniform", img_size=8, clips=2, crops=1, flip=False)


def tiny_data(folder, *, train=30, test=12, batch_size=6, unreadable=(), **options):
    """Videos of 8 frames of 8 x 8 px whose class is the third that is bright."""
    numbers = np.random.default_rng(0)
    entries, records, blobs, offset = {}, [], [], 0
    for row in range(train + test):
        label = row % CLASSES
        frames = numbers.integers(0, 60, (8, 8, 8, 3), dtype=np.uint8)
        frames[:, 3 * label : 3 * label + 2] += 150
        path = folder / f"{row}.mp4"
        entries[str(path)] = Entry(offset, frames.shape, "damaged" if row in unreadable else "")
        records.append(Record(path, label, row if row < train else row - train))
        blobs.append(frames.tobytes())
        offset += len(blobs[-1])
    (folder / "frames.bin").write_bytes(b"".join(blobs))
    return VideoDataModule(
        spec=SPEC,
        train=records[:train],
        test=records[train:],
        augment=Augment(crop="centre"),
        batch_size=batch_size,
        cache=FrameCache(folder / "frames.bin", entries),
        **options,
    )


def tiny_model():
    return VideoModel(TinyBackbone(), LinearHead(16, CLASSES, pool="mean"))


def embed(model, data, records):
    """Pooled features of every view, and the rows they belong to: the slow and obvious way."""
    model.eval()
    with torch.no_grad():
        batches = list(data.eval_dataloader(records))
        pooled = torch.cat([model.backbone.forward_features(batch.video).pool("mean") for batch in batches])
    return pooled, torch.cat([batch.row for batch in batches]), torch.cat([batch.label for batch in batches])
