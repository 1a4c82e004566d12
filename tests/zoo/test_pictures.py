import torch

from backbones.contract import Grid
from backbones.layers import patchify
from zoo import pictures

TUBELET = (2, 4, 4)
GRID = Grid(2, 2, 3)


def test_dropped_patches_are_gray_and_kept_ones_are_the_clips():
    clip = torch.rand(2, 3, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    keep = torch.tensor([[0, 5, 11], [1, 2, 7]])
    shown = patchify(pictures.visible(clip, keep, TUBELET), TUBELET)
    original = patchify(clip, TUBELET)
    for row in range(2):
        for token in range(12):
            expected = original[row, token] if token in keep[row] else torch.full_like(original[row, token], 0.5)
            assert torch.equal(shown[row, token], expected)


def test_colors_are_the_components_in_which_the_reference_varies_most():
    generator = torch.Generator().manual_seed(0)
    # Variance falls over channels 2, 0 and 4; the others are noise.
    scale = torch.tensor([5.0, 0.01, 25.0, 0.01, 1.0, 0.01])
    features = torch.randn(1, 400, 6, generator=generator) * scale
    colors = pictures.Palette(features)(features)
    assert colors.min() >= 0
    assert colors.max() <= 1
    for color, channel in enumerate((2, 0, 4)):
        assert torch.corrcoef(torch.stack([colors[0, :, color], features[0, :, channel]]))[0, 1] > 0.9


def test_equal_features_get_equal_colors_whatever_is_painted_with_them():
    features = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(1))
    palette = pictures.Palette(features)
    assert torch.equal(palette(features)[1:], palette(features[1:]))
    assert torch.equal(pictures.Palette(torch.ones(1, 12, 8))(torch.ones(1, 12, 8)), torch.full((1, 12, 3), 0.5))


def test_a_painted_tubelet_has_the_color_of_its_token_and_an_absent_one_is_gray():
    colors = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(2))
    keep = torch.tensor([[0, 4, 11], [1, 2, 7]])
    painted = patchify(pictures.paint(colors, GRID, TUBELET, keep), TUBELET)
    assert painted.shape == (2, 12, 3, *TUBELET)
    for row in range(2):
        for token in range(12):
            found = (keep[row] == token).nonzero()
            expected = colors[row, found[0, 0]] if len(found) else torch.full((3,), 0.5)
            assert torch.equal(painted[row, token], expected[:, None, None, None].expand(3, *TUBELET))
    whole = torch.rand(1, 12, 3)
    listed = pictures.paint(whole, GRID, TUBELET, torch.arange(12)[None])
    assert torch.equal(pictures.paint(whole, GRID, TUBELET), listed)
