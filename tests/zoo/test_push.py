import json

import pytest
import torch
from huggingface_hub import ModelCard

import zoo
from tests.backbones import hf_models
from tests.zoo.made_up_cards import card
from zoo import push
from zoo.card import ClipSpec, Reported
from zoo.push import PushError, model_card, model_config, save_folder

LABELS = ["slide", "lift", "spin"]


@pytest.fixture
def model() -> zoo.VideoModel:
    made = zoo.create_model("vit_pico", num_classes=3, img_size=16, num_frames=4, embed_dim=32, depth=2, num_heads=2)
    clip = ClipSpec(num_frames=4, sampling="dense", stride=3, img_size=16, short_side=18, flip=False, clips=2, crops=3)
    made.spec = push_spec(made, clip)
    return made.eval()


def push_spec(made: zoo.VideoModel, clip: ClipSpec):
    from dataclasses import replace

    return replace(made.spec, clip=clip, label_names=tuple(LABELS))


def test_a_folder_gives_the_same_model_again(model, tmp_path):
    place = save_folder(model, tmp_path / "mine")
    again = zoo.create_model(f"local-dir:{place}").eval()
    video = torch.randn(1, 3, 4, 16, 16)
    assert torch.equal(again(video), model(video))
    assert again.spec.clip == model.spec.clip
    assert again.spec.label_names == tuple(LABELS)
    assert again.spec.overrides == model.spec.overrides
    assert again.spec.classifier == model.spec.classifier
    fresh = zoo.create_model(f"local-dir:{place}", num_classes=9)
    assert (fresh.num_classes, fresh.spec.label_names) == (9, ())


def test_the_configuration_has_timms_layout(model, tmp_path):
    config = json.loads((save_folder(model, tmp_path / "mine") / "config.json").read_text())
    assert config == json.loads(json.dumps(model_config(model)))
    assert (config["architecture"], config["num_classes"], config["label_names"]) == ("vit_pico", 3, LABELS)
    assert config["model_args"]["embed_dim"] == 32
    cfg = config["pretrained_cfg"]
    assert (cfg["input_size"], cfg["crop_pct"], cfg["stride"], cfg["flip"]) == ([3, 4, 16, 16], 16 / 18, 3, False)


def test_the_model_card_carries_numbers_in_the_hubs_layout(model):
    released = card(
        "vit_pico",
        weight_licence="CC-BY-NC-4.0",
        reported=(Reported("SSv2", "top-1", 70.8, "https://example.org/table"),),
        notes=("table says 3 crops, script says 1",),
    )
    text = model_card(model, "mine", card=released, results=[Reported("digits motion", "accuracy", 0.5, "measured")])
    data = ModelCard(text).data
    numbers = [(it.dataset_name, it.metric_type, it.metric_value) for it in data.eval_results]
    assert sorted(numbers) == [("SSv2", "top-1", 70.8), ("digits motion", "accuracy", 0.5)]
    # What was measured here has no page, and the hub shows a source as a link.
    assert {it.source_url for it in data.eval_results} == {"https://example.org/table", None}
    assert (data.license, data.model_name, data.library_name) == ("cc-by-nc-4.0", "mine", "video-backbone-zoo")
    for words in ("| SSv2 | top-1 | 70.8 |", "table says 3 crops", "Licence of the weights: CC-BY-NC-4.0"):
        assert words in text


@pytest.mark.parametrize(
    ("licence", "header"),
    [("MIT (code)", ("mit", None)), ("ask the authors", ("other", "ask the authors")), ("", (None, None))],
)
def test_a_licence_that_the_hub_does_not_know_is_other(model, licence, header):
    data = ModelCard(model_card(model, "mine", licence=licence)).data
    assert (data.license, data.get("license_name")) == header


def test_nothing_is_overwritten_and_nothing_half_written_stays(model, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    with pytest.raises(PushError, match="exists already, and nothing is overwritten"):
        save_folder(model, tmp_path / "mine")

    def broken(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(push, "save_checkpoint", broken)
    with pytest.raises(PushError, match=r"cannot be written .No space left"):
        save_folder(model, tmp_path / "other")
    assert [it.name for it in tmp_path.iterdir()] == ["mine"]


def test_folders_that_hold_no_model_of_ours_are_named(model, tmp_path):
    with pytest.raises(PushError, match="is no folder of a model"):
        zoo.create_model(f"local-dir:{tmp_path}")
    place = save_folder(model, tmp_path / "mine")
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "num_classes": 5}))
    with pytest.raises(PushError, match=r"mixes two models: .* vit_pico with 5 classes, .* vit_pico with 3"):
        zoo.create_model(f"local-dir:{place}")
    (place / "config.json").write_text("[]")
    with pytest.raises(PushError, match="does not describe a model"):
        zoo.create_model(f"local-dir:{place}")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, place / "model.safetensors")
    with pytest.raises(PushError, match="was not written by the zoo"):
        zoo.create_model(f"local-dir:{place}")


@pytest.mark.parametrize("place", ["{}", "./mine", "mine"])
def test_a_network_that_only_this_machine_knows_is_not_pushed(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    hf_models.config("dinov2").save_pretrained(tmp_path / "mine")
    model = zoo.create_model(f"hf:{place.format(tmp_path / 'mine')}", num_classes=3)
    with pytest.raises(PushError, match=r"'hf:.*mine' is described by a folder of this machine"):
        save_folder(model, tmp_path / "pushed")
    assert not (tmp_path / "pushed").exists()


class FakeHub:
    """Notes what is sent; refuses where it is told to."""

    def __init__(self, refuses: str = "", breaks: str = "") -> None:
        self.refuses, self.breaks, self.calls = refuses, breaks, []

    def create_repo(self, repo_id, *, private, exist_ok):
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.calls.append((repo_id, private, exist_ok))

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        if self.breaks:
            raise OSError(self.breaks)
        self.calls.append((repo_id, sorted(it.name for it in folder_path.iterdir())))


def test_the_hub_gets_the_whole_folder_in_a_new_repository(model, tmp_path):
    place, hub = save_folder(model, tmp_path / "mine"), FakeHub()
    assert push.upload(place, "me/mine", private=True, hub=hub) == "https://huggingface.co/me/mine"
    assert hub.calls == [("me/mine", True, False), ("me/mine", ["README.md", "config.json", "model.safetensors"])]
    (tmp_path / "else").mkdir()
    with pytest.raises(PushError, match="is no folder of a model"):
        push.upload(tmp_path / "else", "me/mine", hub=hub)
    assert len(hub.calls) == 2
    with pytest.raises(PushError, match="is called user/name"):
        push.upload(place, "mine", hub=hub)
    with pytest.raises(PushError, match=r"'me/mine' did not take .*: You must be logged in"):
        push.upload(place, "me/mine", hub=FakeHub("You must be logged in\nand more"))


def test_a_broken_upload_tells_of_the_empty_repository_that_it_leaves(model, tmp_path):
    place = save_folder(model, tmp_path / "mine")
    with pytest.raises(
        PushError, match=r"connection lost. The new repository is there, and empty: delete it at .*me/m"
    ):
        push.upload(place, "me/mine", hub=FakeHub(breaks="connection lost"))
    with pytest.raises(PushError) as raised:
        push.upload(place, "me/mine", hub=FakeHub("You must be logged in"))
    assert "empty" not in str(raised.value)


def test_a_repository_on_the_hub_is_read_like_a_folder(model, tmp_path, monkeypatch):
    place = save_folder(model, tmp_path / "mine")
    asked = []

    def fetched(repository, *, allow_patterns):
        asked.append((repository, allow_patterns))
        return str(place)

    monkeypatch.setattr(push, "snapshot_download", fetched)
    assert zoo.create_model("hf-hub:me/mine").spec.label_names == tuple(LABELS)
    assert asked == [("me/mine", ["model.safetensors", "config.json"])]
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PushError, match="'me/mine' on the hub is out of reach"):
        zoo.create_model("hf-hub:me/mine")
