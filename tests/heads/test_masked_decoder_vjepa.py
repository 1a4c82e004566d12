"""The decoder as V-JEPA's predictor: parity with the authors and with transformers."""

import pytest
import torch
from torch.nn import functional as F

from backbones.contract import Features, Grid
from heads.masked_decoder import MaskedDecoder
from tests.support import assert_parity, load, part
from tests.vjepa import STEMS, encoder, fill, loaded_encoder, loaded_predictor, predictor, use_stem, zoo_state
from zoo.cards import vjepa as card

PLACES = ("0.0", "0.1", "1.0", "1.1")  # group of clips of one length, mask


def parity(name: str, side: dict, actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert_parity(f"vjepa/{name}", actual, expected, rtol=0, atol=side["tolerance"])


def eager(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention as transformers computes it without a fused kernel."""
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
    return scores.softmax(-1, dtype=torch.float32) @ value


def sorted_by_place(network: MaskedDecoder, visible: Features, query: torch.Tensor, token: int) -> torch.Tensor:
    """Predictions as V-JEPA 2 computes them: the whole sequence in raster order, the queries taken out at the end."""
    rows, order = torch.arange(len(query))[:, None], torch.cat([visible.keep, query], 1).argsort(1)
    tokens = network.embed(visible.tokens)
    rotation = network.rotation(visible, query, tokens, 0)[rows, order]
    x = torch.cat([tokens, network.mask_tokens[token].expand(*query.shape, -1)], 1)[rows, order]
    for block in network.blocks:
        x = block(x, rotation)
    return network.head(network.norm(x[rows, order.argsort(1)][:, -query.shape[1] :]))


def context(tokens: torch.Tensor, keep: torch.Tensor | None, frames: int) -> Features:
    """Visible tokens of clips of 32 px and tubelets of 2 frames of 8 px."""
    return Features(tokens, tokens[:, :0], Grid(frames // 2, 4, 4), keep)


@torch.no_grad()
def test_predictions_of_the_first_v_jepa_equal_the_authors():
    side, tensors = load("vjepa/v1_predictor")
    network = loaded_predictor(side["constructor"]["predictor"], tensors)
    for index in range(2):
        visible = context(tensors[f"in.ctxt.{index}"], tensors[f"in.masks_ctxt.{index}"], 8)
        actual = network(visible, tensors[f"in.masks_tgt.{index}"], index)
        parity(f"v1_predictor {index}", side, actual, tensors[f"out.pred.{index}"])


@pytest.mark.parametrize("order", ["sorted", "as they come"])
@torch.no_grad()
def test_predictions_of_v_jepa_2_equal_the_authors_who_choose_the_mask_token_by_clip_length(order):
    side, tensors = load("vjepa/v2_predictor")
    network = loaded_predictor(side["constructor"]["predictor"], tensors)
    cases = [(f"ctxt.{it}", f"masks_x.{it}", f"masks_y.{it}", f"pred.{it}", int(it[0])) for it in PLACES]
    for tokens, keep, query, expected, token in (
        *cases,
        ("single_ctxt", "single_masks_x", "single_masks_y", "single_pred", 1),
    ):
        visible = context(tensors[f"in.{tokens}"], tensors[f"in.{keep}"], 8)
        actual = (
            sorted_by_place(network, visible, tensors[f"in.{query}"], token)
            if order == "sorted"
            else network(visible, tensors[f"in.{query}"], token)
        )
        # Attention sums in another order when its tokens are not sorted.
        tolerance = side if order == "sorted" else {"tolerance": 1e-5}
        parity(f"v2_predictor {expected} ({order})", tolerance, actual, tensors[f"out.{expected}"])


@pytest.mark.parametrize("stem", STEMS)
@torch.no_grad()
def test_transformers_model_equals_ours_when_it_masks_tokens_after_the_encoder(stem, monkeypatch):
    tolerance = use_stem(stem, monkeypatch)
    side, tensors = load("vjepa/hf_vjepa2_model")
    side["tolerance"] = tolerance or side["tolerance"]
    config = side["constructor"]["config"]
    common = {
        "img_size": config["crop_size"],
        "patch_size": config["patch_size"],
        "num_frames": config["frames_per_clip"],
        "tubelet_size": config["tubelet_size"],
        "embed_dim": config["hidden_size"],
        "use_rope": True,
    }
    network = encoder(
        {**common, "depth": config["num_hidden_layers"], "num_heads": config["num_attention_heads"]}
    ).eval()
    head = predictor(
        {
            **common,
            "predictor_embed_dim": config["pred_hidden_size"],
            "depth": config["pred_num_hidden_layers"],
            "num_heads": config["pred_num_attention_heads"],
            "num_mask_tokens": config["pred_num_mask_tokens"],
        }
    ).eval()
    layout = card.transformers_model(config["pred_num_mask_tokens"])
    state = zoo_state(part(tensors, "sd/model/"), layout)
    fill(network, state, "backbone")
    fill(head, state, "decoder")
    if stem == "convolution":
        monkeypatch.setattr(F, "scaled_dot_product_attention", eager)

    def predict(visible: Features, query: torch.Tensor) -> torch.Tensor:
        return sorted_by_place(head, visible, query, 1) if stem == "convolution" else head(visible, query, 1)

    features = network.forward_features(tensors["in.video"].transpose(1, 2))
    everywhere = torch.arange(features.grid.num_tokens).expand(2, -1)
    features = features._replace(keep=everywhere)
    keep, query = tensors["in.context_mask"], tensors["in.target_mask"]
    rows = torch.arange(len(keep))[:, None]
    visible = features._replace(tokens=features.tokens[rows, keep], keep=keep)
    for key, actual in (
        ("last_hidden_state", features.tokens),
        ("masked_hidden_state", visible.tokens),
        ("target_hidden_state", features.tokens[rows, query]),
        ("predictor_masked", predict(visible, query)),
        ("predictor_full", predict(features, everywhere)),
    ):
        parity(f"hf_vjepa2_model {key} ({stem})", side, actual, tensors[f"out.{key}"])


@pytest.mark.parametrize("layout", ["official", "transformers"])
@torch.no_grad()
def test_both_layouts_of_the_same_weights_give_the_official_tokens_predictions_and_logits(layout):
    side, tensors = load("vjepa/v2_to_hf_conversion")
    options = side["constructor"]
    network, head = encoder(options["encoder"]), predictor(options["predictor"])
    if layout == "official":
        network, head = (
            loaded_encoder(options["encoder"], tensors),
            loaded_predictor(options["predictor"], tensors),
        )
    else:
        state = part(tensors, "hf/")
        converter = card.transformers_model(options["predictor"]["num_mask_tokens"])
        bare = {name.removeprefix("vjepa2."): it for name, it in state.items() if name.startswith("vjepa2.")}
        converted = zoo_state(bare, converter)
        fill(network, converted, "backbone")
        fill(head, converted, "decoder")
    features = network.eval().forward_features(tensors["in.video"])
    keep, query = tensors["in.context_mask"], tensors["in.target_mask"]
    visible = features._replace(tokens=features.tokens[torch.arange(2)[:, None], keep], keep=keep)
    parity(f"v2_to_hf_conversion tokens ({layout})", side, features.tokens, tensors["out.tokens"])
    parity(f"v2_to_hf_conversion pred ({layout})", side, head.eval()(visible, query, 1), tensors["out.pred"])
