import base64
import io

import numpy as np
from PIL import Image

from benchmarks.pictures import disagreements, spread_out, strip
from benchmarks.table import Row
from tests.benchmarks.synthetic import frames_of, story


def test_a_strip_holds_the_frames_side_by_side():
    frames = np.random.default_rng(0).integers(0, 255, (5, 6, 7, 3), dtype=np.uint8)
    made = strip(frames)
    kind, _, content = made.uri.partition(",")
    assert kind == "data:image/png;base64"
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert image.shape == (6, 5 * 7, 3)
    np.testing.assert_array_equal(image[:, 14:21], frames[2])


def test_long_clips_are_thinned_evenly_with_both_ends():
    frames = np.arange(100, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    chosen = spread_out(frames, 10)[:, 0, 0, 0]
    np.testing.assert_array_equal(chosen, np.arange(0, 100, 11))


def test_disagreements_are_videos_that_exactly_one_row_gets(tmp_path):
    table = story(tmp_path).table
    task = table.task("motion")
    first, second = (Row(name, "mae", False) for name in ("vit_pico", "videomamba_pico"))
    found = disagreements(table, task, first, second, frames_of, count=3)
    assert [one.winner for one in found] == [first] * 3 + [second] * 3
    for one in found:
        right = {row: table.cells[row]["motion"].hits[0, one.video] for row in (first, second)}
        assert right[one.winner]
        assert not right[one.loser]
        assert one.truth == task.classes[one.video % 10]
        assert one.answer != one.truth


def test_rows_that_agree_have_no_disagreement(tmp_path):
    table = story(tmp_path, systems=("a",)).table
    row = Row("a", "mae", False)
    assert disagreements(table, table.task("order"), row, row, frames_of) == []
