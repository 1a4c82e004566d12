import pytest
import torch
from safetensors.torch import load as read_safetensors
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, VideoMAEConfig, VideoMAEModel

from backbones.contract import Grid
from backbones.frozen import ClipTeacher, clip_teacher, hf_network, hf_videomae
from backbones.hf import HfBackbone
from tests.backbones import hf_models
from tests.support import assert_parity, load, manifest, part

TINY = {"image_size": 16, "patch_size": 8, "width": 32, "depth": 3, "num_heads": 4, "out_dim": 12}


def clips(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def tiny(**options) -> ClipTeacher:
    torch.manual_seed(0)
    return ClipTeacher(**{**TINY, "num_layers": 2, **options})


def authors_teacher(options: dict, state: dict[str, torch.Tensor], *, videomamba: bool) -> ClipTeacher:
    """The constructor of UMT's or VideoMamba's CLIP in our words, with its weights."""
    teacher = ClipTeacher(
        image_size=options["input_resolution"],
        patch_size=options["patch_size"],
        width=options["width"],
        depth=options["layers"],
        num_heads=options["heads"],
        out_dim=options["output_dim"],
        num_layers=options["clip_return_layer"],
        interval=options["clip_return_interval"],
        class_token=videomamba,
        post_norm=not videomamba,
        unit=options["clip_norm_type"] == "l2",
    )
    teacher.load_openai(state)
    return teacher


@pytest.mark.parametrize("name", ["clip_teacher_k3_l2", "clip_teacher_resize_p14like"])
def test_clip_gives_umts_features_and_attention(name):
    side, tensors = load(f"umt/{name}")
    teacher = authors_teacher(side["constructor"], part(tensors, "sd."), videomamba=False)
    features, saliency = teacher(tensors["in.video"])
    bounds = {key: side["tolerance"][key] for key in ("rtol", "atol")}
    stacked = torch.stack([it.tokens for it in features])
    assert_parity(f"umt/{name} features", stacked, tensors["out.features"], **bounds)
    assert_parity(f"umt/{name} attention", saliency.flatten(0, 1), tensors["out.attn"], **bounds)
    assert all(it.prefix.shape[1] == 0 for it in features)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_clip_gives_videomambas_features_with_the_class_token(precision):
    side, tensors = load("videomamba/clip_teacher")
    teacher = authors_teacher(side["constructor"], part(tensors, "state/"), videomamba=True)
    video, suffix = tensors["input/x"], "64" if precision == "float64" else ""
    if precision == "float64":
        teacher, video = teacher.double(), video.double()
    (features,), saliency = teacher(video)
    tokens = torch.cat([features.prefix, features.tokens], 1)[None]
    bounds = side["tolerance"][precision]
    assert_parity(f"videomamba/clip_teacher {precision} tokens", tokens, tensors[f"output{suffix}/tokens"], **bounds)
    expected = tensors[f"output{suffix}/attn"]
    assert_parity(f"videomamba/clip_teacher {precision} attention", saliency.flatten(0, 1), expected, **bounds)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip_vit_b16", {}),
        (
            "clip_vit_l14_res196",
            {"patch_size": 14, "width": 1024, "depth": 24, "num_heads": 16, "out_dim": 768, "image_size": 196},
        ),
    ],
)
def test_manifests_of_openais_clip_fit(name, options):
    shapes = manifest(f"umt/{name}")
    with torch.device("meta"):
        teacher = ClipTeacher(**options)
        teacher.load_openai({key: torch.empty(shape) for key, shape in shapes.items()})
    shapes["conv1.bias"] = [3]
    with torch.device("meta"), pytest.raises(ValueError, match="not of this CLIP: 1 do not fit"):
        teacher.load_openai({key: torch.empty(shape) for key, shape in shapes.items()})


def test_clip_agrees_with_transformers_own_embedding():
    torch.manual_seed(0)
    teacher = tiny(unit=False, class_token=True)
    video = clips(2, 3, 1, 16, 16)
    theirs = teacher.model(video[:, :, 0])
    torch.testing.assert_close(teacher(video).features[-1].prefix[:, 0], theirs.image_embeds, rtol=1e-5, atol=1e-5)


def test_a_folder_of_transformers_gives_the_same_teacher(tmp_path):
    teacher = tiny()
    teacher.model.save_pretrained(tmp_path)
    again = clip_teacher(str(tmp_path), num_layers=2)
    video = clips(1, 3, 2, 16, 16)
    for ours, theirs in zip(again(video).features, teacher(video).features, strict=True):
        assert torch.equal(ours.tokens, theirs.tokens)
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_weights_out_of_reach_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="is no folder with a model of transformers and cannot be fetched"):
        clip_teacher(str(tmp_path / "nothing"))


def test_weights_that_are_missing_are_named(tmp_path):
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4))
    state = {name: it for name, it in model.state_dict().items() if "post_layernorm" not in name}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ValueError, match="lacks 2 weights of an image encoder"):
        clip_teacher(str(tmp_path))


@pytest.fixture
def dino(tmp_path):
    """The folder of a network that transformers saved."""
    hf_models.model("dinov2").save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_number_in_the_weights_of_a_network_is_named(dino, value):
    state = read_safetensors((dino / "model.safetensors").read_bytes())
    state["layernorm.weight"][3] = value
    save_file(state, dino / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"NaN or infinity, first in 'layernorm\.weight'"):
        hf_network(str(dino), pretrained=True)


@pytest.mark.parametrize("size", [0, 5, 1000])
def test_weights_of_a_network_that_are_cut_off_are_named(dino, size):
    file = dino / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match="damaged or cut off"):
        hf_network(str(dino), pretrained=True)


@pytest.mark.parametrize("name", ["./none", "/no/such/folder", "../none"])
def test_a_folder_that_is_not_there_is_not_taken_for_a_bad_name_of_the_hub(name):
    with pytest.raises(ValueError, match="there is no such folder"):
        hf_network(name, pretrained=False)


def test_frames_do_not_know_each_other():
    teacher = tiny()
    video = clips(1, 3, 3, 16, 16)
    together, alone = teacher(video), teacher(video[:, :, 1:2])
    torch.testing.assert_close(together.features[0].tokens[:, 4:8], alone.features[0].tokens)
    torch.testing.assert_close(together.saliency[:, 1:2], alone.saliency)
    assert together.features[0].grid == Grid(3, 2, 2)


def test_a_teacher_resizes_frames_to_the_grid_it_shall_match():
    teacher = tiny()
    teacher.match(Grid(4, 3, 5))
    lesson = teacher(clips(1, 3, 2, 48, 80))
    assert lesson.features[0].grid == Grid(2, 3, 5)
    assert lesson.saliency.shape == (1, 2, 15)


def test_positions_stored_for_another_size_are_resized():
    side, tensors = load("umt/clip_teacher_resize_p14like")
    options, state = {**side["constructor"], "input_resolution": 42}, part(tensors, "sd.")
    large = authors_teacher(options, state, videomamba=False)
    small = authors_teacher(side["constructor"], state, videomamba=False)
    small.match(Grid(1, 6, 6))
    torch.testing.assert_close(
        large(tensors["in.video"]).features[0].tokens, small(tensors["in.video"]).features[0].tokens
    )


def test_clips_are_taken_as_the_student_gets_them_unless_clips_own_statistics_are_asked_for():
    pixels = torch.rand(1, 3, 2, 16, 16)
    column = lambda values: torch.tensor(values)[:, None, None, None]
    imagenet = (pixels - column([0.485, 0.456, 0.406])) / column([0.229, 0.224, 0.225])
    clip = (pixels - column([0.48145466, 0.4578275, 0.40821073])) / column([0.26862954, 0.26130258, 0.27577711])
    published, restated = tiny(), tiny(statistics="clip")
    restated.load_state_dict(published.state_dict())
    torch.testing.assert_close(restated(imagenet).features[1].tokens, published(clip).features[1].tokens)
    assert not torch.allclose(published(imagenet).features[1].tokens, published(clip).features[1].tokens, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": 4}, "3 blocks does not have 4 layers"),
        ({"num_layers": 2, "interval": 3}, "2 layers at an interval of 3"),
        ({"statistics": "imagenet"}, "unknown statistics 'imagenet'"),
        ({"input_size": 20}, "frames of 20 px cannot be cut into patches of 8 px"),
    ],
)
def test_impossible_teachers_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


def test_nothing_is_learned_through_a_teacher():
    video = clips(1, 3, 1, 16, 16).requires_grad_()
    assert not tiny()(video).features[0].tokens.requires_grad


def test_videomae_of_transformers_gives_its_own_output():
    torch.manual_seed(0)
    config = VideoMAEConfig(
        image_size=16, patch_size=8, num_frames=4, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=64, use_mean_pooling=False,
    )  # fmt: skip
    model = VideoMAEModel(config).eval()
    video = clips(2, 3, 4, 16, 16)
    ours = HfBackbone(model).eval().forward_features(video).tokens
    torch.testing.assert_close(ours, model(video.transpose(1, 2)).last_hidden_state)


def test_an_adapter_trains_what_requires_grad():
    backbone = hf_videomae(img_size=16, num_frames=4, patch_size=8, embed_dim=32, depth=2, num_heads=4)
    backbone.patch_embed.requires_grad_(False)
    backbone(clips(1, 3, 4, 16, 16)).sum().backward()
    found = {name for name, it in backbone.named_parameters() if it.grad is None}
    assert found == {"patch_embed.proj.weight", "patch_embed.proj.bias"}
