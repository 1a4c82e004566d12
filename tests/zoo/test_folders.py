from pathlib import Path

from zoo.folders import cache_root, weights_folder


def test_the_cache_is_where_the_variable_says_or_in_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("ZOO_CACHE")
    assert cache_root().is_relative_to(Path.home())


def test_weights_lie_in_a_folder_of_their_card(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert weights_folder("a.b") == tmp_path / "weights" / "a.b"
    assert weights_folder("a.b", tmp_path / "mine") == tmp_path / "mine" / "weights" / "a.b"
