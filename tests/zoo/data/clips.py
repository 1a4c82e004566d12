"""Small video files and lists of them, shared by the tests of caching and loading."""

import numpy as np

from zoo.data.encode import write_video
from zoo.data.records import Record

SIDE = 16


def pictures(video, num_frames):
    """Frames whose grey level tells video and frame apart."""
    levels = 20 * video + 4 * np.arange(num_frames)
    return np.broadcast_to(levels[:, None, None, None], (num_frames, SIDE, SIDE, 3)).astype(np.uint8)


def level_of(frames):
    """The grey level of each frame, undoing the codec's rounding to even levels."""
    return np.asarray(frames, dtype=np.float64).mean((1, 2, 3))


def write_set(folder, num_frames=(8, 8, 8, 8, 8)):
    """Video files and their records; labels count from 0 in turns of three."""
    records = []
    for row, length in enumerate(num_frames):
        path = folder / f"{row}.mp4"
        write_video(path, pictures(row, length), fps=8, options={"g": "1", "qp": "1"})
        records.append(Record(path, row % 3, row))
    return records


def break_file(record):
    """Make a video unreadable."""
    record.path.write_bytes(b"this is no video")
