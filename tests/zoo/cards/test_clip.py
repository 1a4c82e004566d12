import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

import zoo
from tests.support import assert_parity, load, part
from tests.zoo.weights import torch_file
from zoo.cards import clip as card

OPTIONS = {"img_size": 16, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
NAME = "clip_visual_base_patch16"


def whole_clip() -> CLIPModel:
    """Text and image encoders, as the hub's files hold them."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision = CLIPVisionConfig(**sizes, image_size=16, patch_size=8)
    text = CLIPTextConfig(**sizes, vocab_size=20, max_position_embeddings=6)
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=12)).eval()


def theirs(model: CLIPModel, image: torch.Tensor) -> torch.Tensor:
    return model.vision_model(image).pooler_output


@torch.no_grad()
def test_a_file_of_the_hub_gives_transformers_features_and_leaves_the_texts_out(tmp_path):
    source, image = whole_clip(), torch.randn(2, 3, 16, 16)
    path = torch_file(tmp_path / "pytorch_model.bin", source.state_dict())
    model = zoo.create_model(NAME, checkpoint_path=path, num_classes=0, **OPTIONS).eval()
    torch.testing.assert_close(model(image[:, :, None]), theirs(source, image), rtol=1e-5, atol=1e-5)
    report = zoo.load_checkpoint(model, path)
    assert report.layout == "CLIP transformers"
    kept = {name.split(".")[0] for name in report.dropped}
    assert kept == {"text_model", "text_projection", "logit_scale", "decoder"}


def respelt(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Transformers' names in OpenAI's, with the visual part under "visual."."""
    ours = card.TRANSFORMERS.to_zoo(state).state
    texts = {"transformer.resblocks.0.attn.in_proj_weight": torch.ones(3), "positional_embedding": torch.ones(2, 2)}
    return {**card.OPENAI.to_official(ours).state, **texts, "logit_scale": torch.ones(())}


@torch.no_grad()
def test_openais_own_names_give_the_same_features(tmp_path):
    source, image = whole_clip(), torch.randn(2, 3, 16, 16)
    whole = respelt(source.state_dict())
    visual = part(whole, "visual.")
    assert visual["conv1.weight"].shape == (32, 3, 8, 8)
    assert visual["proj"].shape == (32, 12)
    in_proj = visual["transformer.resblocks.1.attn.in_proj_bias"]
    key = source.vision_model.encoder.layers[1].self_attn.k_proj.bias
    assert torch.equal(in_proj[32:64], key)
    over_one_frame = {**visual, "conv1.weight": visual["conv1.weight"][:, :, None]}
    for layout, state in ((card.OPENAI, whole), (card.VISUAL, visual), (card.VISUAL, over_one_frame)):
        path = torch_file(tmp_path / "a.pth", state)
        model = zoo.create_model(NAME, checkpoint_path=path, num_classes=0, **OPTIONS).eval()
        torch.testing.assert_close(model(image[:, :, None]), theirs(source, image), rtol=1e-5, atol=1e-5)
        assert zoo.load_checkpoint(model, path).layout == layout.name


@pytest.mark.parametrize("layout", [card.VISUAL, card.OPENAI, card.TRANSFORMERS], ids=lambda it: it.name)
def test_the_way_back_gives_the_same_tensors(layout):
    ours = card.TRANSFORMERS.to_zoo(whole_clip().state_dict()).state
    again = layout.to_zoo(layout.to_official(ours).state)
    assert (again.unexpected, again.dropped) == ([], [])
    assert again.state.keys() == ours.keys()
    assert all(torch.equal(again.state[key], tensor) for key, tensor in ours.items())


@torch.no_grad()
def test_the_authors_file_gives_the_features_that_umt_teaches(tmp_path):
    side, tensors = load("umt/clip_teacher_k3_l2")
    options, state = side["constructor"], part(tensors, "sd.")
    names = {"input_resolution": "img_size", "patch_size": "patch_size", "width": "embed_dim"}
    sizes = {ours: options[it] for it, ours in {**names, "layers": "depth", "heads": "num_heads"}.items()}
    path = torch_file(tmp_path / "vit_b16.pth", state)
    model = zoo.create_model(NAME, checkpoint_path=path, num_classes=0, **sizes).eval()
    tokens = model.forward_features(tensors["in.video"]).tokens @ state["proj"]
    unit = tokens / tokens.norm(dim=-1, keepdim=True)
    bounds = {key: side["tolerance"][key] for key in ("rtol", "atol")}
    assert_parity("umt/clip_teacher_k3_l2 through the front door", unit, tensors["out.features"][-1], **bounds)
