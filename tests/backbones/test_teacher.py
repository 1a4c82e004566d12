import pytest

from backbones.teacher import Teacher


def test_a_teacher_that_teaches_nothing_cannot_be_made():
    with pytest.raises(TypeError, match="forward"):
        type("Silent", (Teacher,), {})()
