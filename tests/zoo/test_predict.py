import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model, VideoMAEConfig, VideoMAEForVideoClassification

import zoo
from heads.views import join_segments
from tests.zoo.made_up import card, official
from zoo.card import Classifier
from zoo.data import sampling, transforms
from zoo.data.decode import DecodeError, read_frames
from zoo.data.encode import write_video
from zoo.folders import weights_folder
from zoo.predict import PredictError, predict
from zoo.push import save_folder

LABELS = ["ant", "bee", "cat", "dog", "elk", "fox"]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    shades = np.random.default_rng(0).integers(0, 256, (40, 4, 5, 3), dtype=np.uint8)
    write_video(path, shades.repeat(8, 1).repeat(8, 2), fps=10)
    return path


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = zoo.create_model("vit_pico", num_classes=6, embed_dim=32, depth=2, num_heads=2).eval()
    with torch.no_grad():
        model.get_classifier().weight.mul_(50)
    return model


SPEC = zoo.ClipSpec(num_frames=16, sampling="uniform", img_size=24, clips=3, crops=2)


@pytest.fixture
def checkpoint(model, tmp_path):
    path = tmp_path / "vit.safetensors"
    zoo.save_checkpoint(model, path, label_names=LABELS, clip=SPEC)
    return path


def test_a_saved_run_names_the_most_probable_classes(model, checkpoint, video):
    found = predict("vit_pico", video, checkpoint_path=checkpoint, k=4)
    frames = torch.from_numpy(read_frames(video))
    views = [
        transforms.eval_clips(frames[sampling.eval_index(SPEC, 40, clip=number)], SPEC, crops=2) for number in range(3)
    ]
    with torch.no_grad():
        expected = model(torch.cat(views)).softmax(1).mean(0)
    order = expected.argsort(descending=True)[:4].tolist()
    assert [it.class_index for it in found] == order
    assert [it.label for it in found] == [LABELS[index] for index in order]
    torch.testing.assert_close(torch.tensor([it.probability for it in found]), expected[order])
    assert len({round(it.probability, 4) for it in found}) == 4


def test_an_attentive_head_sees_all_clips_of_a_crop_at_once(video, tmp_path):
    torch.manual_seed(0)
    form = Classifier(pool="mean", kind="attentive", num_heads=2)
    model = zoo.create_model("vit_pico", num_classes=6, embed_dim=32, depth=2, num_heads=2, classifier=form).eval()
    with torch.no_grad():
        model.get_classifier().weight.mul_(50)
    clips = []
    for number in range(SPEC.clips):
        index = sampling.eval_index(SPEC, 40, clip=number).tolist()
        clips.append(transforms.eval_clips(torch.from_numpy(read_frames(video, index)), SPEC, crops=SPEC.crops))
    with torch.inference_mode():
        features = model.forward_features(torch.cat(clips))
        scores = model.forward_head(join_segments(features, clips=SPEC.clips, crops=SPEC.crops)).softmax(1).mean(0)
    told = {it.class_index: it.probability for it in predict(model, video, clip=SPEC, k=6)}
    assert [told[number] for number in range(6)] == pytest.approx(scores.tolist(), abs=1e-5)
    apart = model(torch.cat(clips)).softmax(1).mean(0)
    assert (apart - scores).abs().max() > 1e-4


def test_all_classes_share_one(checkpoint, video):
    found = predict("vit_pico", video, checkpoint_path=checkpoint, k=99)
    assert len(found) == 6
    assert sum(it.probability for it in found) == pytest.approx(1)


def test_a_fresh_classifier_never_predicts_unnoticed(model, video, tmp_path):
    torch.save(zoo.create_model("vit_pico", num_classes=6).state_dict(), tmp_path / "six.pth")
    with pytest.raises(zoo.CheckpointError, match=r"six\.pth.*no classifier for 400 classes.*num_classes"):
        predict("vit_pico", video, checkpoint_path=tmp_path / "six.pth")
    assert zoo.create_model("vit_pico", num_classes=6, checkpoint_path=tmp_path / "six.pth").num_classes == 6
    assert zoo.create_model("vit_pico", num_classes=3, checkpoint_path=tmp_path / "six.pth").num_classes == 3


def test_classes_without_names_are_numbered(model, video):
    assert predict(model, video, k=1)[0].label.startswith("class ")


def test_dropout_is_off_and_the_mode_of_the_model_is_left_as_it_was(model, video):
    model.head.dropout.p = 0.5
    model.train()
    first, second = predict(model, video), predict(model, video)
    assert model.training
    assert first == second


def test_a_video_that_cannot_be_read_is_named(model, tmp_path):
    (tmp_path / "no.mp4").write_bytes(b"nothing")
    with pytest.raises(DecodeError, match=r"no\.mp4"):
        predict(model, tmp_path / "no.mp4")


def test_what_cannot_predict_says_why(model, video):
    with pytest.raises(ValueError, match="at least one class must be asked for, not 0"):
        predict(model, video, k=0)
    with pytest.raises(PredictError, match="without a classifier"):
        predict(zoo.create_model("vit_pico", num_classes=0), video)
    with pytest.raises(PredictError, match="does not say which clips"):
        predict(zoo.VideoModel(model.backbone, model.head), video)
    with pytest.raises(PredictError, match=r"'vit_pico' is an architecture.*vit_pico\.TAG.*--checkpoint"):
        predict("vit_pico", video)
    asked = Classifier(pool="mean", kind="attentive", num_heads=2, questions={"verb": 3, "noun": 4})
    several = zoo.create_model("vit_pico", num_classes=7, embed_dim=32, depth=1, num_heads=2, classifier=asked)
    with pytest.raises(PredictError, match=r"several questions \(verb, noun\)"):
        predict(several, video)


@pytest.fixture
def cards(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    monkeypatch.delenv("ZOO_WEIGHTS", raising=False)
    asked = Classifier(pool="mean", kind="attentive", num_heads=2, questions={"verb": 2, "noun": 3})
    unfit = (card("pt", weights={"num_classes": 0}), card("mm", missing="no text encoder"), card("q", classifier=asked))
    cards = (card("toy"), *unfit)
    monkeypatch.setattr("zoo.cards.CARDS", cards)
    path = weights_folder("vit_pico.toy") / "toy.pth"
    path.parent.mkdir(parents=True)
    torch.save(official(), path)


def test_the_name_of_released_weights_is_enough(cards, video):
    assert predict("vit_pico.toy", video) == predict(zoo.create_model("vit_pico.toy", pretrained=True), video)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vit_pico.pt", "'vit_pico.pt' is a backbone without a classifier"),  # and nothing is fetched for it
        ("vit_pico.q", r"several questions \(verb, noun\)"),  # nor for it
        ("vit_pico.mm", "no text encoder"),
        ("vit_pico.toi", r"did you mean 'vit_pico\.toy'"),
        ("vit_pcio", "did you mean 'vit_pico'"),
    ],
)
def test_a_name_that_cannot_predict_says_why(cards, video, name, words):
    with pytest.raises(ValueError, match=words):
        predict(name, video)


def test_a_pushed_folder_is_named_like_weights(model, checkpoint, video, tmp_path):
    save_folder(zoo.create_model("vit_pico", checkpoint_path=checkpoint), tmp_path / "pushed")
    assert predict(f"local-dir:{tmp_path / 'pushed'}", video) == predict("vit_pico", video, checkpoint_path=checkpoint)


def test_another_librarys_network_predicts_when_it_brings_its_classifier(video, tmp_path):
    sizes = {"image_size": 16, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    names = {0: "run", 1: "jump", 2: "sit"}
    classifier = VideoMAEConfig(**sizes, patch_size=8, num_frames=2, intermediate_size=16, id2label=names)
    VideoMAEForVideoClassification(classifier).save_pretrained(tmp_path / "videomae")
    assert {it.label for it in predict(f"hf:{tmp_path / 'videomae'}", video)} == {"run", "jump", "sit"}
    Dinov2Model(Dinov2Config(**sizes, patch_size=8)).save_pretrained(tmp_path / "dino")
    with pytest.raises(PredictError, match="no classifier comes with"):
        predict(f"hf:{tmp_path / 'dino'}", video)


def test_the_front_door_is_light_and_needs_no_video_library():
    # Older versions of torchvision load PyAV themselves.
    code = (
        "import sys, zoo; assert 'torch' not in sys.modules; import torchvision; theirs = set(sys.modules);"
        "zoo.create_model; zoo.load_checkpoint; import zoo.predict; ours = set(sys.modules) - theirs;"
        "heavy = {'av', 'decord', 'pytorch_lightning', 'transformers'} & ours; assert not heavy, heavy;"
        "assert set(zoo.__all__) <= set(dir(zoo)); [getattr(zoo, name) for name in zoo.__all__]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_name_that_the_front_door_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'creat_model'"):
        zoo.creat_model  # noqa: B018 - the look-up is the test
