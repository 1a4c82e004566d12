import pytest
import torch
from torch.nn import functional as F

from backbones.contract import Features, Grid
from heads.attentive import AttentiveHead
from heads.views import add_times, encode, encode_views, join, loss_of_views, probabilities, scores_of_views
from tests.heads.test_attentive import official_key
from tests.support import assert_parity, load, part
from tests.zoo.training.synthetic import TinyBackbone

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
# Name, segments, whether the head sees all segments at once, levels.
CASES = [
    ("v1_frozen_aggregation", 2, True, None),
    ("v1_frozen_aggregation_persegment", 3, False, None),
    ("v2_frozen_aggregation", 2, True, None),
    ("v2_frozen_aggregation_multilevel", 2, True, [1, 2]),
]


def features(tokens, grid=None, prefix=None):
    prefix = tokens[:, :0] if prefix is None else prefix
    return Features(tokens, prefix, grid or Grid(tokens.shape[1], 1, 1), None)


def loaded_head(side, tensors):
    given = side["constructor"]["classifier"]
    head = AttentiveHead(
        given["embed_dim"], given["num_classes"], num_heads=given["num_heads"], depth=given["depth"]
    ).eval()
    state = part(tensors, "sd/classifier/")
    head.load_state_dict({official_key(k): v for k, v in state.items() if "xattn.proj" not in k})
    return head


def stored(tensors, segments, across):
    """Features `[view][segment]` from those that the authors joined, or not."""
    found = part(tensors, "out.features.")
    if not across:
        views = len(found) // segments
        return [[features(found[f"{view}.{segment}"]) for segment in range(segments)] for view in range(views)]
    return [[features(half) for half in found[str(view)].chunk(segments, 1)] for view in range(len(found))]


def logits(tensors):
    return torch.stack([tensor for _, tensor in sorted(part(tensors, "out.logits.").items())])


@pytest.mark.parametrize(("name", "segments", "across", "levels"), CASES)
def test_answers_from_the_authors_features_are_the_authors(name, segments, across, levels):
    side, tensors = load(f"vjepa/{name}")
    scores = scores_of_views(
        loaded_head(side, tensors), stored(tensors, segments, across), attend_across_segments=across
    )
    assert_parity(f"vjepa/{name} logits", scores, logits(tensors), **CLOSE)
    assert_parity(f"vjepa/{name} probabilities", probabilities(scores), tensors["out.probs"], **CLOSE)


@pytest.mark.parametrize(("name", "segments", "across", "levels"), CASES)
def test_answers_from_the_authors_clips_are_the_authors(name, segments, across, levels):
    # For the merger: runs once V-JEPA's networks (tests/vjepa.py) are there.
    networks = pytest.importorskip("tests.vjepa", reason="V-JEPA's networks are not merged yet")
    side, tensors = load(f"vjepa/{name}")
    options = {key: value for key, value in side["constructor"]["encoder"].items() if key != "out_layers"}
    encoder = networks.loaded_encoder(options, tensors)
    views = len(part(tensors, "in.clips.0."))
    clips = torch.stack([torch.stack([tensors[f"in.clips.{s}.{v}"] for v in range(views)]) for s in range(segments)])
    found = encode_views(encoder, clips, layers=levels)
    joined = {str(view): join(segments).tokens for view, segments in enumerate(found)}
    if not across:
        joined = {f"{v}.{s}": it.tokens for v, segments in enumerate(found) for s, it in enumerate(segments)}
    for key, expected in part(tensors, "out.features.").items():
        assert_parity(f"vjepa/{name} features.{key}", joined[key], expected, **CLOSE)
    scores = scores_of_views(loaded_head(side, tensors), found, attend_across_segments=across)
    assert_parity(f"vjepa/{name} whole", probabilities(scores), tensors["out.probs"], **CLOSE)


def test_every_clip_finds_its_place_among_views_and_segments():
    backbone, clips = TinyBackbone().eval(), torch.randn(3, 2, 4, 3, 4, 8, 8)
    found = encode_views(backbone, clips)
    assert (len(found), len(found[0])) == (2, 3)
    for view in range(2):
        for segment in range(3):
            expected = backbone.forward_features(clips[segment, view])
            torch.testing.assert_close(found[view][segment].tokens, expected.tokens)
            assert found[view][segment].grid == expected.grid


def test_levels_are_normed_and_joined_in_the_order_asked_for():
    backbone, video = TinyBackbone().eval(), torch.randn(2, 3, 4, 8, 8)
    torch.nn.init.normal_(backbone.norm.weight)
    found = encode(backbone, video, layers=[1, 0])
    last, first = (it.tokens for it in backbone.forward_intermediates(video, [1, 0]))
    assert torch.equal(found.tokens, torch.cat([last, first], 1))
    assert found.grid == (4, 2, 2)


def test_frames_of_an_image_model_go_through_one_by_one():
    class Image(TinyBackbone):
        tubelet = (1, 4, 4)

    backbone, video = Image().eval(), torch.randn(2, 3, 5, 8, 8)
    found = encode(backbone, video, frame_by_frame=True)
    frames = [backbone.forward_features(frame).tokens for frame in video.split(1, 2)]
    torch.testing.assert_close(found.tokens, torch.cat(frames, 1))
    assert found.grid == (5, 2, 2)


def test_joined_features_are_those_of_a_longer_clip():
    one, two = (features(torch.randn(2, 6, 4), Grid(3, 2, 1), torch.randn(2, 1, 4)) for _ in range(2))
    found = join([one, two])
    assert torch.equal(found.tokens, torch.cat([one.tokens, two.tokens], 1))
    assert torch.equal(found.prefix, torch.cat([one.prefix, two.prefix], 1))
    assert found.grid == (6, 2, 1)


def test_the_loss_is_the_mean_over_calls():
    scores, label = torch.randn(3, 2, 5), torch.tensor([4, 1])
    expected = torch.stack([F.cross_entropy(call, label) for call in scores]).mean()
    torch.testing.assert_close(loss_of_views(scores, label), expected)


def test_times_are_sines_then_cosines_of_the_first_frame_of_each_tubelet():
    plain = features(torch.zeros(1, 4, 6, dtype=torch.float64), Grid(2, 2, 1))
    frames = torch.tensor([[3, 4, 30, 31]])
    found = add_times(plain, frames, tubelet_frames=2).tokens[0]
    for token, frame in enumerate((3, 3, 30, 30)):
        angles = [frame / 10000 ** (k / 3) for k in range(3)]
        expected = torch.tensor(angles, dtype=torch.float64)
        torch.testing.assert_close(found[token], torch.cat([expected.sin(), expected.cos()]))


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="no features to join"):
        join([])
    tokens = torch.randn(1, 4, 2)
    with pytest.raises(ValueError, match=r"got grids \[\(2, 2, 1\), \(2, 1, 2\)\]"):
        join([features(tokens, Grid(2, 2, 1)), features(tokens, Grid(2, 1, 2))])
    with pytest.raises(ValueError, match="whole clips"):
        join([features(tokens)._replace(keep=torch.arange(4)[None])])
    with pytest.raises(ValueError, match="3 frames in tubelets of 2 for a whole clip of 2"):
        add_times(features(tokens, Grid(2, 2, 1)), torch.tensor([[0, 1, 2]]), tubelet_frames=2)
