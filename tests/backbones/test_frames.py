import pytest
import timm
import torch

from backbones.contract import Grid
from backbones.frames import FrameBackbone, FrameTeacher, timm_vit
from backbones.timesformer import timesformer_pico
from backbones.videomamba import videomamba_pico
from backbones.vit import MAE_ST, vit_pico

STILLS = {"img_size": 24, "num_frames": 1, "tubelet_size": 1}


def clips(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def stills(**options):
    """A backbone for stills with a class token."""
    torch.manual_seed(0)
    return vit_pico(**STILLS, depth=3, flavor=MAE_ST, **options).eval()


def test_features_are_the_backbones_own_for_every_frame():
    backbone, video = stills(), clips(2, 3, 4, 24, 24)
    lesson = FrameTeacher(backbone, num_layers=2)(video)
    for frame in range(4):
        alone = backbone.forward_intermediates(video[:, :, frame : frame + 1], [1, 2])
        for found, expected in zip(lesson.features, alone, strict=True):
            tokens = expected.tokens / expected.tokens.norm(dim=-1, keepdim=True)
            torch.testing.assert_close(found.tokens[:, 9 * frame : 9 * frame + 9], tokens)
    assert lesson.features[0].grid == Grid(4, 3, 3)
    assert lesson.features[0].prefix.shape[1] == 0


def test_saliency_is_the_class_row_of_the_last_attention_map():
    backbone, video = stills(), clips(2, 3, 4, 24, 24)
    maps = []

    def keep_map(module, inputs):
        x = inputs[0]
        bias = module.qkv.bias
        query, key, _ = torch.nn.functional.linear(x, module.qkv.weight, bias).unflatten(-1, (3, 4, -1)).unbind(2)
        scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
        maps.append(scores.softmax(-1).mean(1))

    backbone.blocks[-1].attn.register_forward_pre_hook(keep_map)
    frames = video.transpose(1, 2).flatten(0, 1)[:, :, None]
    backbone(frames)
    saliency = FrameTeacher(backbone)(video).saliency
    torch.testing.assert_close(saliency.flatten(0, 1), maps[0][:, 0, 1:])
    assert (saliency.sum(-1) < 1).all()


def test_backbones_without_class_token_or_attention_have_no_saliency():
    video = clips(1, 3, 2, 24, 24)
    for backbone in (
        vit_pico(**STILLS),
        videomamba_pico(**STILLS),
        timesformer_pico(**STILLS),
        vit_pico(**STILLS, depth=1, flavor=MAE_ST),
    ):
        lesson = FrameTeacher(backbone)(video)
        assert lesson.saliency is None
        assert lesson.features[0].tokens.shape == (1, 18, 64)


def test_the_class_token_is_averaged_over_frames():
    backbone, video = stills(), clips(1, 3, 2, 24, 24)
    alone = [backbone.forward_features(video[:, :, frame : frame + 1]).prefix for frame in range(2)]
    mean = (alone[0] + alone[1]) / 2
    found = FrameTeacher(backbone, class_token=True)(video).features[0].prefix
    torch.testing.assert_close(found, mean / mean.norm(dim=-1, keepdim=True))
    with pytest.raises(ValueError, match="no class token to teach"):
        FrameTeacher(vit_pico(**STILLS), class_token=True)(video)


def test_a_teacher_resizes_frames_to_the_grid_it_shall_match():
    teacher = FrameTeacher(stills())
    teacher.match(Grid(2, 2, 4))
    assert teacher(clips(1, 3, 2, 48, 96)).features[0].grid == Grid(2, 2, 4)


def test_a_video_backbone_is_no_teacher_of_frames():
    with pytest.raises(ValueError, match="tubelets of 2 frames"):
        FrameTeacher(vit_pico())


def timm_model(**options):
    torch.manual_seed(0)
    return timm.create_model(
        options.pop("name", "vit_base_patch14_dinov2"), img_size=28, patch_size=14, embed_dim=32, depth=2, num_heads=4,
        num_classes=0, dynamic_img_size=True, **options,
    ).eval()  # fmt: skip


@pytest.mark.parametrize("name", ["vit_base_patch14_dinov2", "vit_base_patch14_reg4_dinov2"])
@pytest.mark.parametrize("side", [28, 42])
def test_frames_get_timms_own_features(name, side):
    model, video = timm_model(name=name), clips(2, 3, 2, side, side)
    features = FrameBackbone(model).forward_features(video)
    frames = [model.forward_features(video[:, :, frame]) for frame in range(2)]
    num_prefix = model.num_prefix_tokens
    torch.testing.assert_close(
        features.tokens, torch.cat([it.split([num_prefix, it.shape[1] - num_prefix], 1)[1] for it in frames], 1)
    )
    torch.testing.assert_close(features.prefix, (frames[0] + frames[1])[:, :num_prefix] / 2)


def test_timms_weights_have_our_names():
    model = timm_model(name="vit_base_patch14_reg4_dinov2")
    backbone = FrameBackbone(model)
    assert set(backbone.state_dict()) == set(model.state_dict())
    assert backbone.layer_of("reg_token") == 0
    assert "reg_token" in backbone.no_weight_decay()


def test_another_kind_of_network_is_refused():
    with pytest.raises(ValueError, match="ResNet is no plain vision transformer of timm: it has no 'patch_embed'"):
        FrameBackbone(timm.create_model("resnet18"))
    with pytest.raises(ValueError, match="8 frames of 20 px cannot be cut into patches of 8 px"):
        timm_vit(img_size=20, patch_size=8)
