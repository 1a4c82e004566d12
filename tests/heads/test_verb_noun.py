import pytest
import torch

from backbones.contract import Features, Grid
from heads.verb_noun import VerbNounHead
from tests.heads.test_attentive import official_key
from tests.support import assert_parity, load, part


def features(tokens):
    return Features(tokens, tokens[:, :0], Grid(1, 1, tokens.shape[1]), None)


def linears_key(key):
    for question in ("verb", "noun", "action"):
        key = key.replace(f"{question}_classifier", f"linears.{question}")
    return key


def loaded(side, tensors):
    given = side["constructor"]["classifier"]
    classes = {"verb": given["verbs"], "noun": given["nouns"], "action": given["actions"]}
    head = VerbNounHead(given["embed_dim"], classes, num_heads=given["num_heads"], depth=given["depth"]).eval()
    head.load_state_dict({linears_key(official_key(k)): v for k, v in part(tensors, "sd/classifier/").items()})
    return head


def test_answers_are_those_of_vjepa2():
    side, tensors = load("vjepa/v2_action_anticipation")
    found = loaded(side, tensors)(features(tensors["out.tokens"]))
    assert list(found) == ["verb", "noun", "action"]
    for question, scores in found.items():
        expected = tensors[f"out.{question}"]
        assert_parity(f"vjepa/v2_action_anticipation {question}", scores, expected, rtol=1e-5, atol=1e-5)


def test_each_question_has_its_own_query_and_all_share_the_blocks():
    head, tokens = VerbNounHead(16, {"verb": 3, "noun": 3}, num_heads=2, depth=2), torch.randn(2, 5, 16)
    head.linears["noun"].load_state_dict(head.linears["verb"].state_dict())
    first = head(features(tokens))
    assert not torch.allclose(first["verb"], first["noun"])
    with torch.no_grad():
        head.query[:, 1] = head.query[:, 0]
    second = head(features(tokens))
    torch.testing.assert_close(second["verb"], second["noun"])
    assert torch.equal(first["verb"], second["verb"])
    sum(scores.square().sum() for scores in second.values()).backward()
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())


def test_a_head_without_a_question_is_refused():
    with pytest.raises(ValueError, match="names no question"):
        VerbNounHead(16, {}, num_heads=2)
