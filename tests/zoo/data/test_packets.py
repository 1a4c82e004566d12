"""Frame numbers and decoding plans, on tracks written out by hand."""

import pytest

from zoo.data.packets import NO_TIME, Packet, plan, tabulate, whole


def _track(times, *, starts=(0,), disposable=(), hidden=(), depth=2):
    packets = [
        Packet(NO_TIME if t is None else t, i, 100 * i, 10, i in starts, i in disposable, i not in hidden)
        for i, t in enumerate(times)
    ]
    return tabulate(packets, depth=depth)


PYRAMID = [0, 4, 2, 1, 3, 8, 6, 5, 7]  # I P B b b P B b b, in file order


def test_frames_are_numbered_by_time():
    table = _track(PYRAMID)
    assert table.timed
    assert table.order.tolist() == [0, 3, 2, 4, 1, 7, 6, 8, 5]
    assert table.pts == list(range(9))


def test_hidden_packets_have_no_number():
    table = _track(PYRAMID, hidden=(0, 3))
    assert table.order.tolist() == [2, 4, 1, 7, 6, 8, 5]
    assert whole(table).frames == {2: 0, 3: 1, 4: 2, 5: 3, 6: 4, 7: 5, 8: 6}
    assert whole(table).send == tuple(range(9))


@pytest.mark.parametrize(
    ("times", "depth"),
    [
        ([0, 1, 1, 2], 0),
        ([0, None, 2, 3], 0),
        ([0, 2, 1, 3], 0),  # moves although the decoder never reorders
        ([0, 1, 2, 3], 2),  # made up: the decoder reorders, the times do not
        (PYRAMID, 1),  # reorders further than declared
        (PYRAMID, None),
        ([40, *range(40)], 2),  # one picture far ahead of its place
    ],
)
def test_times_that_cannot_be_trusted_number_nothing(times, depth):
    table = _track(times, depth=depth)
    assert not table.timed
    assert table.order.tolist() == list(range(len(times)))
    assert plan(table, [1]) == [whole(table)]
    assert table.key_frames == ()


def test_a_plan_begins_at_the_last_start_and_ends_at_the_frame():
    table = _track(range(12), starts=(0, 4, 8), depth=0)
    assert [run.send for run in plan(table, [6])] == [(4, 5, 6)]
    assert [run.send for run in plan(table, [9, 2, 9, 8])] == [(0, 1, 2), (8, 9)]
    assert plan(table, [6])[0].frames == {4: 4, 5: 5, 6: 6}


def test_pictures_nobody_refers_to_are_left_out_unless_asked_for():
    table = _track(PYRAMID, disposable=(3, 4, 7, 8))
    assert plan(table, [8])[0].send == (0, 1, 2, 5)
    assert plan(table, [7])[0].send == (0, 1, 2, 5, 6, 8)


def test_leading_pictures_are_reached_from_the_start_before():
    times = [0, 1, 2, 6, 4, 5, 7]  # packet 3 starts decoding, packets 4 and 5 are shown before it
    table = _track(times, starts=(0, 3), depth=1)
    assert table.leading
    assert plan(table, [4])[0].send == (0, 1, 2, 3, 4, 5)  # the fifth frame, shown at time 5, is packet 5
    assert plan(table, [6])[0].send == (3, 6)
    assert not _track(range(6), starts=(0, 3), depth=0).leading


def test_overlapping_spans_are_decoded_once():
    times = [0, 1, 2, 6, 4, 5, 7]
    table = _track(times, starts=(0, 3), depth=1)
    runs = plan(table, [3, 6])  # times 4 and 7
    assert [run.start for run in runs] == [0]
    assert runs[0].send == (0, 1, 2, 3, 4, 5, 6)


def test_a_track_of_one_packet_is_timed():
    assert _track([5], depth=2).timed
    assert len(_track([], depth=0).order) == 0
