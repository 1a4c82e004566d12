import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.suite import SuiteError
from benchmarks.suites.in1k import SUITE
from tests.benchmarks.suites import official
from tests.benchmarks.suites.official import touch, write
from zoo.card import ClipSpec
from zoo.data.loading import EvalClips, Reader
from zoo.data.records import ListError

FIRST, SECOND = "n10000000", "n10000007"


def prepare(root):
    return SUITE.prepare(root, False)


def val(root):
    records = prepare(root).records("object", "val")
    assert [record.row for record in records] == list(range(len(records)))
    return [(record.path.name, record.label) for record in records]


def test_an_image_becomes_a_clip_that_repeats_it(tmp_path):
    official.in1k(tmp_path)
    path = tmp_path / "val" / FIRST / f"val_{FIRST}.JPEG"
    Image.fromarray(np.full((12, 10, 3), 100, np.uint8)).save(path, "JPEG")
    spec = SUITE.tasks[0].clip_spec(ClipSpec(num_frames=4, sampling="dense", stride=4, img_size=8, clips=5, crops=3))
    clips, label, row, *_ = EvalClips(records=prepare(tmp_path).records("object", "val"), spec=spec, reader=Reader())[0]
    assert clips.shape == (1, 3, 4, 8, 8)
    assert (label, row) == (0, 0)
    assert torch.equal(clips[:, :, :1].expand_as(clips), clips)


def test_kaggles_flat_validation_is_labelled_by_its_solution(tmp_path):
    base = tmp_path / "ILSVRC/Data/CLS-LOC"
    official.in1k(tmp_path)
    touch(base / "val", "ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG")
    (tmp_path / "train").rename(base / "train")
    for folder in (tmp_path / "val").iterdir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    (tmp_path / "val").rmdir()
    solution = f"ImageId,PredictionString\nILSVRC2012_val_00000002,{FIRST} 1 2 3 4 {FIRST} 5 6 7 8 \n"
    write(tmp_path / "LOC_val_solution.csv", solution + f"ILSVRC2012_val_00000001,{SECOND} 1 2 3 4 \n")
    assert val(tmp_path) == [("ILSVRC2012_val_00000001.JPEG", 1), ("ILSVRC2012_val_00000002.JPEG", 0)]
    write(tmp_path / "LOC_val_solution.csv", solution + "ILSVRC2012_val_00000001,n99999999 1 2 3 4 \n")
    with pytest.raises(ListError, match="line 3, PredictionString: 'n99999999'"):
        val(tmp_path)


def test_class_folders_alone_must_be_all_1000(tmp_path):
    official.in1k(tmp_path)
    (tmp_path / "LOC_synset_mapping.txt").unlink()
    with pytest.raises(SuiteError, match="names 3 classes, expected 1000"):
        prepare(tmp_path)
    for number in range(1000):
        (tmp_path / "train" / f"n{10_000_000 + 7 * number}").mkdir(exist_ok=True)
    assert val(tmp_path) == [(f"val_{FIRST}.JPEG", 0), (f"val_{SECOND}.JPEG", 1)]


def test_a_folder_that_is_no_class_is_refused(tmp_path):
    official.in1k(tmp_path)
    touch(tmp_path / "val/n99999999", "a.JPEG")
    with pytest.raises(SuiteError, match="n99999999' is no class"):
        val(tmp_path)


def test_common_lists_of_images_are_read(tmp_path):
    write(tmp_path / "val.csv", f"{SECOND}/b.JPEG 1\n{FIRST}/a.JPEG 0\n")
    touch(tmp_path / "val", f"{FIRST}/a.JPEG")
    assert val(tmp_path) == [("b.JPEG", 1), ("a.JPEG", 0)]
    assert prepare(tmp_path).classes("object") == ()
    write(tmp_path / "LOC_synset_mapping.txt", "".join(f"n{10_000_000 + n} thing\n" for n in range(1000)))
    assert prepare(tmp_path).classes("object")[:2] == ("n10000000", "n10000001")


def test_images_are_resized_with_a_margin_unless_the_network_says_otherwise():
    task = SUITE.tasks[0]
    assert task.clip_spec(ClipSpec(num_frames=4, sampling="dense", img_size=224)).short_side == 256
    own = ClipSpec(num_frames=4, sampling="dense", img_size=224, short_side=248)
    assert task.clip_spec(own).short_side == 248


def test_an_evaluation_of_one_list_does_not_read_the_other(tmp_path):
    official.in1k(tmp_path)
    touch(tmp_path / "train/n99999999", "a.JPEG")
    assert len(val(tmp_path)) == 2
    with pytest.raises(SuiteError, match="n99999999' is no class"):
        prepare(tmp_path).records("object", "train")
