import contextlib
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import synth
from benchmarks.layout import Layout, Look, Part, Plan, SynthError, Video, look_of, video_of
from benchmarks.suites import coin, digits
from benchmarks.suites.table import SUITES
from benchmarks.synth import layout_of, render, write_suite
from tests.benchmarks.laid_out import prepared
from zoo.data.decode import probe, read_frames
from zoo.suggest import UnknownNameError

WRITERS = [suite for suite in SUITES.values() if suite.layout]
TINY = Plan(classes=2, videos=1, seconds=1)


def write(folder, plan=TINY, suite=coin.SUITE, size_px=16):
    return write_suite(suite, folder, plan, size_px=size_px, workers=0, progress=False)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("suite", WRITERS, ids=lambda suite: suite.name)
def test_what_is_laid_out_is_what_the_suite_reads(suite, tmp_path):
    plan = Plan(classes=3, videos=2)
    layout, videos = layout_of(suite, plan), prepared(suite, tmp_path, plan)
    planned = {tmp_path / video.name: video for video in layout.videos}
    listed = set()
    for task in suite.tasks:
        names, looks = videos.classes(task.name), defaultdict(set)
        for _, records in lists(suite, videos, task.name):
            rows = [record.row for record in records]
            assert sorted(set(rows)) == list(range(len(set(rows))))
            assert rows == sorted(rows)
            # Records of one row are windows of one video.
            assert len(set(rows)) == len({(record.row, record.path, record.label) for record in records})
            for record in records:
                assert (record.target is None) == (task.metric != "mse")
                assert record.target is not None or 0 <= record.label < (len(names) or task.num_classes)
                answer = record.label if record.target is None else record.target
                looks[answer].add(seen(planned[record.path], record.span, layout.fps))
                listed.add(record.path)
        assert len(looks) >= 2
        assert any(tells_apart(looks, part) for part in (Look._asdict, Look.digit.__get__, Look.motion.__get__))
    assert listed == set(planned)


def lists(suite, videos, task):
    """The lists that a set has: official releases lack labels for some."""
    found = []
    for split in suite.splits:
        with contextlib.suppress(UnknownNameError):
            found.append((split, videos.records(task, split)))
    assert {suite.train_split, suite.test_split} <= {split for split, _ in found}
    return found


def tells_apart(looks, part) -> bool:
    """Whether a part of the look is the same within each class and differs between classes."""
    parts = [{str(part(look)) for look in found} for found in looks.values()]
    return all(len(found) == 1 for found in parts) and len(set.union(*parts)) == len(parts)


def seen(video, span, fps):
    """What a part of a video shows in its middle."""
    if span is None or len(video.parts) == 1:
        return video.parts[0].look
    middle = (span.start + span.end) / 2 / (fps if span.unit == "frames" else 1)
    ends = np.cumsum([part.seconds for part in video.parts])
    return video.parts[int(np.searchsorted(ends, middle, side="right"))].look


@pytest.mark.parametrize("suite", WRITERS, ids=lambda suite: suite.name)
def test_equal_seeds_give_equal_lists(suite, tmp_path):
    hashes = []
    for folder in ("a", "b"):
        videos = prepared(suite, tmp_path / folder, Plan(classes=2, videos=2, seed=3))
        hashes.append(
            [videos.split_hash(task.name, it) for task in suite.tasks for it, _ in lists(suite, videos, task.name)]
        )
    assert hashes[0] == hashes[1]


@pytest.mark.slow
@pytest.mark.parametrize("suite", WRITERS, ids=lambda suite: suite.name)
def test_every_part_of_a_written_data_set_can_be_decoded(suite, tmp_path):
    write(tmp_path, Plan(classes=2, videos=2), suite, size_px=32)
    videos = suite.prepare(tmp_path, False)
    for task in suite.tasks:
        for _, records in lists(suite, videos, task.name):
            for record in records[:8]:
                index = probe(record.path)
                part = range(index.num_frames)
                if record.span:
                    part = record.span.frames(index.num_frames, index.fps)
                frames = read_frames(record.path, [part[0], part[-1]], decoder="pyav", index=index)
                assert frames.shape == (2, 32, 42, 3)


@pytest.mark.parametrize("name", ["a.mp4", "b.avi", "c.webm", "d.MP4"])
def test_videos_are_written_in_the_containers_of_the_releases(name, tmp_path):
    suite = replace(coin.SUITE, layout=lambda plan: Layout(files={}, videos=(video_of(name, 1, 1.0, test=False),)))
    write(tmp_path, suite=suite)
    index = probe(tmp_path / name)
    frames = read_frames(tmp_path / name, list(range(8)), decoder="pyav", index=index)
    assert frames.shape == (8, 16, 22, 3)
    truth = render(video_of(name, 1, 1.0, test=False), fps=8, size_px=16, seed=0)
    assert np.abs(frames.astype(float) - truth).mean() < 12


def test_an_image_is_the_first_frame(tmp_path):
    layout = Layout(files={}, videos=(video_of("n01/a.JPEG", 1, 1.0, test=False),))
    write(tmp_path, suite=replace(coin.SUITE, layout=lambda plan: layout))
    from PIL import Image

    with Image.open(tmp_path / "n01/a.JPEG") as picture:
        pixels = np.asarray(picture).astype(float)
    assert np.abs(pixels - render(layout.videos[0], fps=8, size_px=16, seed=0)[0]).mean() < 12


def test_the_same_plan_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        write(tmp_path / folder, replace(TINY, seed=seed))
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert content(tmp_path / "a") != content(tmp_path / "c")
    video = video_of("a.mp4", 1, 1.0, test=False)
    frames = [render(video, fps=8, size_px=24, seed=seed) for seed in (0, 1)]
    assert (frames[0] != frames[1]).mean() > 0.9, "another background, whatever the files are called"


def test_an_interrupted_call_is_finished_by_the_next_and_repeats_nothing(tmp_path, monkeypatch):
    written, write_video = [], synth.write_video

    def interrupted(path, *arguments, **options):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write_video(path, *arguments, **options)

    monkeypatch.setattr(synth, "write_video", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a")
    before = {path: path.stat().st_mtime_ns for path in written}
    monkeypatch.setattr(synth, "write_video", write_video)
    write(tmp_path / "a")
    assert {path: path.stat().st_mtime_ns for path in written} == before
    write(tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(SynthError, match="were not generated here"):
        write(tmp_path)
    assert content(tmp_path) == {"thesis.tex": b"all of it"}


@pytest.mark.parametrize("change", [{"seed": 1}, {"videos": 2}, {"seconds": 2}])
def test_a_folder_of_another_plan_is_refused_and_left_alone(tmp_path, change):
    write(tmp_path)
    before = content(tmp_path)
    with pytest.raises(SynthError, match=r"another generated data set \(plan"):
        write(tmp_path, replace(TINY, **change))
    with pytest.raises(SynthError, match="size_px differ: 16 there, 20 asked for"):
        write(tmp_path, size_px=20)
    assert content(tmp_path) == before


def test_a_changed_annotation_file_is_never_overwritten_and_a_missing_one_comes_back(tmp_path):
    write(tmp_path)
    path = tmp_path / "COIN.json"
    text = path.read_text()
    path.write_text("mine")
    with pytest.raises(SynthError, match=r"COIN.json' is not as it was generated"):
        write(tmp_path)
    assert path.read_text() == "mine"
    path.unlink()
    write(tmp_path)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(classes=1), "2 to 100 classes, not 1"),
        (Plan(classes=101), "not 101"),
        (Plan(videos=0), "at least one video"),
        (Plan(seconds=0.5), "1 to 3600 seconds long, not 0.5"),
    ],
)
def test_plans_that_make_no_data_set_are_refused(plan, words):
    with pytest.raises(SynthError, match=words):
        layout_of(coin.SUITE, plan)


def test_a_suite_without_a_writer_and_odd_sizes_are_refused(tmp_path):
    with pytest.raises(SynthError, match="no writer for generated data in the layout of 'digits'"):
        layout_of(digits.SUITE, TINY)
    with pytest.raises(SynthError, match="even number of pixels from 16 on, not 17"):
        write(tmp_path / "a", size_px=17)


def test_parts_come_one_after_the_other():
    parts = (Part(Look(0, 0), 1.0), Part(Look(1, 0), 2.0))
    both = render(Video("a.mp4", parts), fps=4, size_px=24, seed=0)
    assert len(both) == 12
    first = render(Video("a.mp4", parts[:1]), fps=4, size_px=24, seed=0)
    assert (both[:4] == first).all()


def spectrum(label: int, number: int, *, test: bool) -> np.ndarray:
    """What does not depend on where the digit is."""
    frames = render(video_of(f"{number}.mp4", label, 1.0, test=test), fps=8, size_px=24, seed=0).mean(-1)
    frames = frames - frames.mean((1, 2), keepdims=True)
    return np.log(np.abs(np.fft.fft2(frames)).mean(0)[:8, :8]).ravel()


def test_classes_can_be_told_apart_on_digits_that_training_never_showed():
    from sklearn.linear_model import LogisticRegression

    labels = [number % 2 for number in range(60)]
    train = [spectrum(label, number, test=False) for number, label in enumerate(labels)]
    test = [spectrum(label, 1000 + number, test=True) for number, label in enumerate(labels)]
    model = LogisticRegression(max_iter=1000).fit(train, labels)
    assert model.score(test, labels) > 0.8


def test_a_motion_and_its_reverse_are_two_classes():
    forward, backward = (
        render(Video("a.mp4", (Part(Look(3, motion), 2.0),)), fps=8, size_px=24, seed=0) for motion in (0, 1)
    )
    darkness = [frames.mean(-1) for frames in (forward, backward[::-1])]
    assert np.abs(darkness[0] - darkness[1]).mean() < np.abs(darkness[0] - backward.mean(-1)).mean()
    assert look_of(1).motion == 1
