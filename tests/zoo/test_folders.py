from zoo.folders import weights_folder


def test_weights_lie_in_a_folder_of_their_card(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert weights_folder("a.b") == tmp_path / "weights" / "a.b"
    assert weights_folder("a.b", tmp_path / "mine") == tmp_path / "mine" / "weights" / "a.b"
