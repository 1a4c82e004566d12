from pathlib import Path

from backbones.folders import cache_root


def test_the_cache_is_where_the_variable_says_or_in_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("ZOO_CACHE")
    assert cache_root().is_relative_to(Path.home())
