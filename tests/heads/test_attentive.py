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


def test_version_one_works_on_the_query_after_the_tokens():
    name = "vjepa/v1_attentive_classifier_depth3"
    side, tensors = load(name)
    given = side["constructor"]["classifier"]
    head = AttentiveHead(
        given["embed_dim"], given["num_classes"], num_heads=given["num_heads"], depth=3, blocks="query"
    ).eval()
    state = {official_key(k): v for k, v in part(tensors, "sd/classifier/").items() if "xattn.proj" not in k}
    head.load_state_dict(state)
    clips = features(tensors["in.tokens"])
    assert_parity(f"{name} pooled", head.pooled(clips), tensors["out.pooled"][:, 0], rtol=1e-5, atol=1e-5)
    assert_parity(f"{name} logits", head(clips), tensors["out.logits"], rtol=1e-5, atol=1e-5)


def hf_key(key):
    """Our name of a key of transformers' pooler; those of q, k and v are joined afterwards."""
    for theirs, ours in [
        ("pooler.query_tokens", "query"),
        ("pooler.cross_attention_layer.cross_attn.q_proj", "cross.xattn.q"),
        ("pooler.cross_attention_layer.cross_attn", "cross.xattn"),
        ("pooler.cross_attention_layer", "cross"),
        ("pooler.self_attention_layers", "blocks"),
        ("layer_norm", "norm"),
        ("self_attn.out_proj", "attn.proj"),
        ("self_attn", "attn"),
        ("classifier", "linear"),
    ]:
        key = key.replace(theirs, ours)
    return key


def joined(state, prefix, ours, parts):
    """Replace separate projections by the joint one."""
    for kind in ("weight", "bias"):
        state[f"{prefix}{ours}.{kind}"] = torch.cat([state.pop(f"{prefix}{it}_proj.{kind}") for it in parts])


def test_equals_the_classifier_of_transformers_at_its_own_epsilon():
    name = "vjepa/hf_vjepa2_classifier"
    side, tensors = load(name)
    config = side["constructor"]["config"]
    state = {hf_key(k): v for k, v in part(tensors, "sd/model/").items() if not k.startswith("vjepa2.")}
    joined(state, "cross.xattn.", "kv", "kv")
    for block in range(config["num_pooler_layers"]):
        joined(state, f"blocks.{block}.attn.", "qkv", "qkv")
    head = AttentiveHead(
        config["hidden_size"],
        config["num_labels"],
        num_heads=config["num_attention_heads"],
        depth=config["num_pooler_layers"] + 1,
        norm_eps=1e-6,
    ).eval()
    head.load_state_dict(state)
    logits = head(features(tensors["out.last_hidden_state"]))
    assert_parity(f"{name} logits", logits, tensors["out.logits"], rtol=1e-5, atol=1e-5)


def test_an_incomplete_block_is_the_bare_cross_attention():
    head, tokens = AttentiveHead(16, 5, num_heads=2, complete=False), torch.randn(2, 9, 16)
    torch.nn.init.normal_(head.cross.kv.weight)
    key, value = head.cross.kv(tokens).chunk(2, -1)
    query = head.cross.q(head.query).expand(2, -1, -1)
    heads = [(part[..., :8], part[..., 8:]) for part in (query, key, value)]
    mixed = [(q @ k.mT / 8**0.5).softmax(-1) @ v for q, k, v in zip(*heads, strict=True)]
    torch.testing.assert_close(head.pooled(features(tokens)), torch.cat(mixed, -1)[:, 0])


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


def test_in_version_one_the_cross_block_counts_as_the_first():
    head = AttentiveHead(128, 5, num_heads=2, depth=3, blocks="query")
    spread = [head.cross.mlp.fc2.weight.std().item()] + [block.mlp.fc2.weight.std().item() for block in head.blocks]
    assert spread == pytest.approx([0.02 / (2 * index) ** 0.5 for index in (1, 2, 3)], rel=0.03)


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="3 heads do not divide a width of 16"):
        AttentiveHead(16, 5, num_heads=3)
    with pytest.raises(ValueError, match="at least 1 block, not 0"):
        AttentiveHead(16, 5, num_heads=2, depth=0)
    with pytest.raises(ValueError, match="unknown place of the blocks 'both'; choose 'tokens' or 'query'"):
        AttentiveHead(16, 5, num_heads=2, depth=2, blocks="both")
