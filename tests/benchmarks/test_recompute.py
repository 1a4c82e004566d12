import pytest

from benchmarks.recompute import recompute
from benchmarks.session import RequestError


def test_a_result_without_scores_cannot_be_measured_again(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(RequestError, match=r"x\.json: no scores of views"):
        recompute(tmp_path / "x.json")
