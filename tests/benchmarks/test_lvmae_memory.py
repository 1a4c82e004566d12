import subprocess
import sys

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from backbones.layers import Block
from benchmarks.lvmae_memory import (
    DECODER,
    ENCODER,
    SMALL_CAP_MIB,
    Setting,
    Trunk,
    decoder_activations,
    rows,
    saved_bytes,
    small_step,
)

# spec-lvmae-magvit A.9: frames, tokens, visible, decoder tokens, encoder GF, decoder GF, maps in MiB.
TABLE = [
    (32, 3136, 320, (3136, 1888, 1104, 790, 634), 58, (105, 49, 23, 15, 11), (450, 163, 56, 29, 18)),
    (64, 6272, 640, (6272, 3776, 2208, 1581, 1267), 124, (330, 141, 61, 38, 28), (1801, 653, 223, 114, 73)),
    (128, 12544, 1280, (12544, 7552, 4416, 3162, 2534), 278, (1144, 457, 182, 106, 75), (7203, 2611, 893, 457, 294)),
]


@pytest.mark.parametrize(("frames", "tokens", "visible", "lengths", "encoder", "decoder", "maps"), TABLE)
def test_the_closed_forms_give_the_table(frames, tokens, visible, lengths, encoder, decoder, maps):
    found = rows([frames])
    assert {(row.num_tokens, row.num_visible, round(row.encoder_gflops)) for row in found} == {
        (tokens, visible, encoder)
    }
    assert tuple(row.num_decoder for row in found) == lengths
    assert [row.decoder_gflops for row in found] == pytest.approx(decoder, abs=0.51)
    # The table says 457 where 3162 tokens give 457.7.
    assert [row.map_mib for row in found] == pytest.approx(maps, abs=0.69)


@pytest.mark.parametrize("trunk", [ENCODER, DECODER], ids=["encoder", "decoder"])
def test_operations_are_those_that_a_counter_sees(trunk):
    with torch.device("meta"):
        block, tokens = Block(trunk.width, trunk.num_heads), torch.empty(1, 100, trunk.width)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        block(tokens)
    assert counter.get_total_flops() * trunk.depth == trunk.flops(100)


def test_kept_bytes_are_counted_once_and_without_parameters():
    layer = torch.nn.Linear(4, 8, device="meta")
    x = torch.empty(3, 4, device="meta", requires_grad=True)
    # The layer keeps x, both squares keep y, which is one storage.
    assert saved_bytes(lambda: (lambda y: y.square() + y.view(-1).square().view(3, 8))(layer(x)), layer) == 4 * (
        12 + 24
    )


def test_at_128_frames_and_15_percent_the_decoder_keeps_a_quarter_of_what_50_percent_need():
    kept = {budget: decoder_activations(Setting(frames=128, budget=budget), fused=False) for budget in (0.15, 0.5)}
    assert kept[0.15] <= kept[0.5] / 4
    maps = {row.budget: row.map_mib * 2**20 for row in rows([128], (0.15, 0.5))}
    assert all(kept[budget] > maps[budget] for budget in kept)


def test_fused_attention_keeps_no_map_and_grows_with_the_tokens_alone():
    few, many = (Setting(frames=128, budget=budget) for budget in (0.15, 0.5))
    ratio = decoder_activations(many, fused=True) / decoder_activations(few, fused=True)
    assert ratio == pytest.approx(7552 / 3162, rel=0.02)


def test_the_small_step_differs_from_the_full_one_in_queries_alone():
    assert small_step(0.15).num_visible == small_step(1.0).num_visible == 448
    assert (small_step(0.15).num_query, small_step(1.0).num_query) == (614, 3648)
    assert Trunk(width=64, depth=2, num_heads=2).map_bytes(4096, 4) > SMALL_CAP_MIB * 2**20 / 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="peaks are not measured there")
def test_a_step_of_128_frames_fits_where_the_full_decoder_does_not():
    peaks = []
    for budget in (0.15, 1.0):
        code = f"from benchmarks.lvmae_memory import step_peak; print(step_peak({budget}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout))
    assert peaks[0] < SMALL_CAP_MIB < peaks[1], peaks
