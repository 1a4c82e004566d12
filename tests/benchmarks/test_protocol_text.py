from dataclasses import replace

from rich.console import Console

from benchmarks.evaluation import Request, resolve
from benchmarks.protocol_text import clip_lines, crop_words, protocol_table, size_words
from benchmarks.suites import table
from tests.benchmarks.tiny_files import SUITE, write_files
from zoo.card import ClipSpec

K400 = ClipSpec(num_frames=16, sampling="dense", stride=4, img_size=224, clips=5, crops=3)


def test_clips_are_told_by_their_first_and_last_frame():
    assert clip_lines(K400)[::4] == ["clip 0: frames 0 to 60", "clip 4: frames 236 to 296"]


def test_crops_are_told_by_where_they_begin():
    assert crop_words(K400) == "resized to 298 x 224 px; 224 px crops at top 0, left 0, 37, 74"
    upright = crop_words(K400, height=400, width=224)
    assert upright == "resized to 224 x 400 px; 224 px crops at top 0, 88, 176, left 0"
    assert crop_words(replace(K400, short_side=256, crops=1)).endswith("224 px crops at top 16, left 58")


def test_lists_are_told_with_windows_and_known_copies(tmp_path, monkeypatch):
    monkeypatch.setitem(table.SUITES, SUITE.name, SUITE)
    asked = Request(name="vit_pico", suite="tiny_files", task="parts", data=write_files(tmp_path), limit=2)
    one = resolve(asked)
    assert size_words(one) == (
        "test: 20 videos in 4 windows, as many as ours; the first 2 of them (--limit), which is no headline"
    )
    unknown = resolve(replace(asked, limit=None, split="train"))
    assert size_words(unknown) == "train: 12 videos, which is no known copy's size"
    console = Console(record=True, width=200)
    console.print(protocol_table(resolve(replace(asked, protocol="linear", budget="smoke"))))
    text = console.export_text()
    assert "linear; trained on 'train', budget smoke, 15 steps" in text
    assert "accuracy averaged over classes" in text
