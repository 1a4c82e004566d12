import pytest

from benchmarks.layout import MAX_CLASSES, Example, Part, Plan, Video, look_of, made_up_id, table_text


def test_a_hundred_classes_look_different_and_no_more_are_offered():
    assert len({look_of(label) for label in range(MAX_CLASSES)}) == MAX_CLASSES
    with pytest.raises(ValueError, match="at most 100 classes"):
        look_of(MAX_CLASSES)


def test_examples_take_classes_in_turn_and_number_them_within_a_split():
    assert Plan(classes=2, videos=2).examples() == [Example(0, 0), Example(1, 1), Example(0, 2), Example(1, 3)]


def test_a_video_is_as_long_as_its_parts():
    assert Video("a.mp4", (Part(look_of(0), 1.5), Part(look_of(1), 2.0))).seconds == 3.5


def test_fields_with_delimiters_are_quoted():
    assert table_text([("a", "b"), (1, "x,y")]) == 'a,b\n1,"x,y"\n'
    assert table_text([("a b", 2)], delimiter=" ", line_end="\r\n") == '"a b" 2\r\n'


def test_made_up_ids_look_like_those_of_youtube_and_depend_on_their_place_alone():
    ids = {made_up_id("coin", 0, "train", number) for number in range(200)}
    assert len(ids) == 200
    assert {len(name) for name in ids} == {11}
    assert made_up_id("coin", 0, "train", 7) in ids
