import pytest
import torch

from backbones.contract import Features, Grid
from heads.attentive import AttentiveHead
from tests.support import assert_parity, load, part


def features(tokens, prefix=None):
    prefix = torch.zeros(len(tokens), 0, tokens.shape[2]) if prefix is None else prefix
    return Features(tokens, prefix, Grid(1, 1, tokens.shape[1]), None)


def official_key(key):
    """Our name of a key of V-JEPA's probes."""
    for theirs, ours in [
        ("module.", ""),
        ("pooler.query_tokens", "query"),
        ("pooler.cross_attention_block", "cross"),
        ("pooler.blocks", "blocks"),
    ]:
        key = key.replace(theirs, ours)
    return key


@pytest.mark.parametrize("name", ["vjepa/v1_attentive_classifier", "vjepa/v2_attentive_classifier"])
def test_equals_the_probe_of_vjepa(name):
    side, tensors = load(name)
    given = side["constructor"]["classifier"]
    head = AttentiveHead(
        given["embed_dim"], given["num_classes"], num_heads=given["num_heads"], depth=given["depth"]
    ).eval()
    # xattn.proj is in the file of version 1 but is not applied by its authors' code.
    state = {official_key(k): v for k, v in part(tensors, "sd/classifier/").items() if "xattn.proj" not in k}
    head.load_state_dict(state)
    clips = features(tensors["in.tokens"])
    assert_parity(f"{name} pooled", head.pooled(clips), tensors["out.pooled"][:, 0], rtol=1e-5, atol=1e-5)
    assert_parity(f"{name} logits", head(clips), tensors["out.logits"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 3])
def test_the_order_of_tokens_makes_no_difference(depth):
    head, tokens = AttentiveHead(16, 5, num_heads=2, depth=depth).double(), torch.randn(2, 9, 16).double()
    shuffled = tokens[:, torch.randperm(9)]
    torch.testing.assert_close(head(features(shuffled)), head(features(tokens)))


def test_prefix_tokens_are_looked_at():
    head, tokens = AttentiveHead(16, 5, num_heads=2), torch.randn(2, 9, 16)
    as_prefix = head(features(tokens[:, 1:], tokens[:, :1]))
    torch.testing.assert_close(as_prefix, head(features(tokens)))
    assert not torch.allclose(head(features(tokens[:, 1:])), as_prefix)


def test_every_parameter_learns():
    head = AttentiveHead(16, 5, num_heads=2, depth=2)
    head(features(torch.randn(2, 9, 16))).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_branch_outputs_start_smaller_with_depth():
    head = AttentiveHead(128, 5, num_heads=2, depth=4)
    spread = [block.mlp.fc2.weight.std().item() for block in head.blocks] + [head.cross.mlp.fc2.weight.std().item()]
    expected = [0.02 / (2 * index) ** 0.5 for index in (1, 2, 3, 3)]
    assert spread == pytest.approx(expected, rel=0.03)


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="3 heads do not divide a width of 16"):
        AttentiveHead(16, 5, num_heads=3)
    with pytest.raises(ValueError, match="at least 1 block, not 0"):
        AttentiveHead(16, 5, num_heads=2, depth=0)
