import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from backbones.clip import ClipBackbone
from backbones.frozen import ClipTeacher, clip_visual

TINY = {"image_size": 16, "patch_size": 8, "num_attention_heads": 4, "num_hidden_layers": 3, "hidden_size": 32}


def transformers_model() -> CLIPVisionModelWithProjection:
    torch.manual_seed(0)
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**TINY, intermediate_size=128, projection_dim=12)).eval()


@torch.no_grad()
def test_a_frame_gives_what_transformers_gives():
    model, image = transformers_model(), torch.randn(2, 3, 16, 16)
    features = ClipBackbone(model).eval().forward_features(image[:, :, None])
    theirs = model(image, output_hidden_states=True)
    tokens = model.vision_model.post_layernorm(theirs.last_hidden_state)
    torch.testing.assert_close(torch.cat([features.prefix, features.tokens], 1), tokens, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.visual_projection(features.prefix[:, 0]), theirs.image_embeds)


@torch.no_grad()
def test_a_clip_is_its_frames_with_the_mean_of_their_class_tokens():
    backbone, video = ClipBackbone(transformers_model()).eval(), torch.randn(2, 3, 3, 16, 16)
    together = backbone.forward_features(video)
    alone = [backbone.forward_features(video[:, :, time : time + 1]) for time in range(3)]
    torch.testing.assert_close(together.tokens, torch.cat([it.tokens for it in alone], 1))
    torch.testing.assert_close(together.prefix, torch.stack([it.prefix for it in alone]).mean(0))


@torch.no_grad()
def test_backbone_and_teacher_agree_before_the_projection():
    teacher = ClipTeacher(
        image_size=16, patch_size=8, width=32, depth=3, num_heads=4, out_dim=12, num_layers=1, unit=False
    )
    video = torch.randn(1, 3, 2, 32, 16)
    teacher.input_size = (32, 16)
    taught = teacher(video).features[0].tokens
    tokens = ClipBackbone(teacher.model).eval().forward_features(video).tokens
    torch.testing.assert_close(teacher.model.visual_projection(tokens), taught, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_frames_of_other_sizes_are_seen_as_transformers_sees_them():
    model, image = transformers_model(), torch.randn(2, 3, 24, 32)
    theirs = model.vision_model(image, interpolate_pos_encoding=True).last_hidden_state
    features = ClipBackbone(model).eval().forward_intermediates(image[:, :, None], [-1], norm=False)[0]
    torch.testing.assert_close(features.tokens, theirs[:, 1:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"img_size": 20, "patch_size": 8}, "cannot be cut into patches of 8 px"), ({"num_heads": 7}, "7 heads do not")],
)
def test_impossible_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        clip_visual(**options)
