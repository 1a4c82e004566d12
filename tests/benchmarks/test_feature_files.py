import json
from pathlib import Path

import numpy as np
import pytest
import torch

from backbones.contract import Grid
from benchmarks.feature_files import FeatureFileError, videos_of, write_arrays, write_twlvi
from zoo.data.records import Record
from zoo.training.features import FeatureBank

ROOT = Path("/videos")
RECORDS = [
    Record(ROOT / "a/one.mp4", 4, 0),
    Record(ROOT / "a/one.mp4", 4, 0),  # another window of the same video
    Record(ROOT / "b/one.mp4", 5, 1),
]


def bank():
    """Two clips of two crops per record; a feature says record, clip and crop."""
    places = torch.cartesian_prod(torch.arange(3), torch.arange(2), torch.arange(2)).float()
    rows = torch.tensor([0, 0, 1]).repeat_interleave(4)
    tokens = places[:, None]
    return FeatureBank(tokens=tokens, prefix=tokens[:, :0], grid=Grid(1, 1, 1), labels=rows + 4, rows=rows)


def test_clips_are_means_over_crops_and_windows_join_their_video():
    first, second = videos_of(bank(), RECORDS, crops=2, root=ROOT)
    assert (first.name, first.row, first.label) == ("a/one.mp4", 0, 4)
    assert first.clips.tolist() == [[0, 0, 0.5], [0, 1, 0.5], [1, 0, 0.5], [1, 1, 0.5]]
    assert (second.name, second.label, len(second.clips)) == ("b/one.mp4", 5, 2)


def test_twelve_labs_tools_find_their_three_files_per_video(tmp_path):
    videos = videos_of(bank(), RECORDS, crops=2, root=ROOT)
    write_twlvi(videos, tmp_path / "val")
    # As linear_probing/dataset.py of their framework reads them.
    names = sorted(path.name[:-5] for path in (tmp_path / "val").iterdir() if path.name.endswith(".json"))
    assert names == ["a__one", "b__one"]
    for name, video in zip(names, videos, strict=True):
        told = json.loads((tmp_path / "val" / f"{name}.json").read_text())
        assert int(told["annotation"]) == video.label
        clips, whole = (np.load(tmp_path / "val" / f"{name}_{kind}.npy") for kind in "cv")
        assert np.array_equal(clips, video.clips)
        assert np.allclose(whole, clips.mean(0))
        assert clips.dtype == whole.dtype == np.float32


def test_names_that_would_be_equal_keep_their_rows(tmp_path):
    videos = [video._replace(name="a/x.mp4") for video in videos_of(bank(), RECORDS, crops=2, root=ROOT)]
    write_twlvi(videos, tmp_path / "val")
    assert {path.name for path in (tmp_path / "val").glob("*.json")} == {"a__x__row0.json", "a__x__row1.json"}


def test_arrays_hold_one_vector_per_video(tmp_path):
    videos = videos_of(bank(), RECORDS, crops=2, root=ROOT)
    write_arrays(videos, tmp_path / "val.v2", classes=["run", "jump"])
    with np.load(tmp_path / "val.v2.npz") as arrays:
        assert arrays["embeddings"].tolist() == [[0.5, 0.5, 0.5], [2, 0.5, 0.5]]
        assert arrays["labels"].tolist() == [4, 5]
    assert json.loads((tmp_path / "val.v2.json").read_text()) == {
        "videos": ["a/one.mp4", "b/one.mp4"],
        "classes": ["run", "jump"],
    }


def test_nothing_is_replaced_and_nothing_half_written_stays(tmp_path):
    videos = videos_of(bank(), RECORDS, crops=2, root=ROOT)
    write_twlvi(videos, tmp_path / "val")
    with pytest.raises(FeatureFileError, match="val is there already"):
        write_twlvi(videos, tmp_path / "val")
    with pytest.raises(ValueError, match="null"):
        write_twlvi([videos[0], videos[1]._replace(name="a\0b.mp4")], tmp_path / "train")
    assert [path.name for path in tmp_path.iterdir()] == ["val"]
