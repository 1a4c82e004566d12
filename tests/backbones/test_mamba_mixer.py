import math

import pytest
import torch

from backbones import mamba_mixer
from backbones.mamba_mixer import STEPS, MambaMixer, SsmOptions, draw_steps
from backbones.ops.selective_scan import bidirectional_scan, selective_scan
from tests.support import assert_parity, load, part
from zoo.cards.videomamba import VIDEO

FIXTURES = ["mixer_bi", "mixer_bi_bias", "mixer_uni"]
PREFIX = "blocks.0.mixer."


def to_ours(tensors):
    """The authors' names of a lone mixer to ours."""
    converted = VIDEO.to_zoo({f"layers.0.mixer.{key}": tensor for key, tensor in tensors.items()})
    assert not converted.unexpected
    assert not converted.dropped
    return {key.removeprefix(f"backbone.{PREFIX}"): tensor for key, tensor in converted.state.items()}


def from_official(constructor):
    """Our mixer for the arguments of the authors' `Mamba`."""
    options = dict(constructor)
    dim, bidirectional = options.pop("d_model"), options.pop("bimamba", True)
    names = {"d_state": "state_dim", "d_conv": "conv_width", "expand": "expand", "bias": "bias"}
    names |= {"dt_rank": "dt_rank", "conv_bias": "conv_bias"}
    if options.get("dt_rank") == "auto":
        del options["dt_rank"]
    ssm = SsmOptions(**{names[key]: value for key, value in options.items()})
    return MambaMixer(dim, bidirectional=bidirectional, ssm=ssm)


def mixer_of(name, dtype=torch.float64):
    side, tensors = load(f"videomamba/{name}")
    mixer = from_official(side["constructor"])
    mixer.load_state_dict(to_ours(part(tensors, "state/")))
    return mixer.to(dtype), side, tensors


@pytest.mark.parametrize("name", FIXTURES)
@pytest.mark.parametrize(("dtype", "output"), [(torch.float32, "output"), (torch.float64, "output64")])
def test_mixer_gives_the_authors_outputs(name, dtype, output):
    mixer, side, tensors = mixer_of(name, dtype)
    out = mixer(tensors["input/x"].to(dtype))
    tolerance = side["tolerance"][str(dtype).removeprefix("torch.")]
    assert_parity(f"videomamba/{name} {output}", out, tensors[f"{output}/y"], **tolerance)


@pytest.mark.parametrize("name", FIXTURES)
def test_mixer_gives_the_authors_gradients(name):
    mixer, side, tensors = mixer_of(name)
    x = tensors["input/x"].double().requires_grad_()
    (mixer(x) * tensors["input/probe_y"]).sum().backward()
    expected = part(tensors, "grad64/")
    torch.testing.assert_close(x.grad, expected.pop("input.x"), **side["tolerance"]["float64"])
    expected = to_ours(expected)
    found = {key: parameter.grad for key, parameter in mixer.named_parameters()}
    assert set(found) == set(expected)
    flat = [torch.cat([grads[key].flatten() for key in sorted(expected)]) for grads in (found, expected)]
    assert_parity(f"videomamba/{name} grad64", *flat, **side["tolerance"]["float64"])


def shared_weights(mixer, monkeypatch):
    mixer.anticausal.load_state_dict(mixer.causal.state_dict())


def conv_not_reversed(mixer, monkeypatch):
    mixer.anticausal.reverse = False


def without_backward(mixer, monkeypatch):
    mixer.anticausal = None


def patched_scan(scan):
    return lambda mixer, monkeypatch: monkeypatch.setattr(mamba_mixer, "bidirectional_scan", scan)


def one(inputs, z, *, reverse):
    return selective_scan(inputs, z, delta_softplus=True, reverse=reverse)


@pytest.mark.parametrize(
    "mistake",
    [
        shared_weights,
        conv_not_reversed,
        without_backward,
        patched_scan(lambda ahead, back, z, **_: one(ahead, z, reverse=False) + one(back, z, reverse=False)),
        patched_scan(lambda ahead, back, z, **_: one(ahead, z, reverse=False) + one(back, z.flip(-1), reverse=True)),
        patched_scan(lambda ahead, back, z, **_: one(ahead, z, reverse=False) + one(back, z, reverse=True).flip(-1)),
        patched_scan(lambda *args, **options: bidirectional_scan(*args, **options) / 2),
    ],
    ids=["shared", "conv", "dropped", "scan", "gate", "result", "halved"],
)
def test_fixtures_catch_mistakes_of_direction(mistake, monkeypatch):
    mixer, _, tensors = mixer_of("mixer_bi_bias")
    mistake(mixer, monkeypatch)
    error = (mixer(tensors["input/x"].double()) - tensors["output64/y"]).abs().max()
    assert error > 0.05 * tensors["output64/y"].abs().max()


def test_backward_direction_equals_the_forward_one_on_the_flipped_sequence():
    mixer = MambaMixer(16)
    torch.nn.init.normal_(mixer.anticausal.dt_proj.weight)
    mixer.causal.load_state_dict(mixer.anticausal.state_dict())
    x = torch.randn(2, 11, 32)
    ahead, back = mixer.causal(x.flip(1), "auto"), mixer.anticausal(x, "auto")
    y = selective_scan(ahead, delta_softplus=True)
    y_back = selective_scan(back, delta_softplus=True, reverse=True)
    torch.testing.assert_close(y_back, y.flip(-1))


def test_autocast_keeps_decay_rates_and_step_bias_in_float32():
    mixer = MambaMixer(16)
    seen = []
    mixer.causal.register_forward_hook(lambda module, args, inputs: seen.append(inputs))
    with torch.autocast("cpu", torch.bfloat16):
        out = mixer(1e3 * torch.randn(2, 40, 16))
    assert seen[0].u.dtype == seen[0].delta.dtype == torch.bfloat16
    assert seen[0].A.dtype == seen[0].D.dtype == seen[0].delta_bias.dtype == torch.float32
    assert out.isfinite().all()


def test_unknown_scan_is_refused_when_the_mixer_is_built():
    with pytest.raises(ValueError, match="reference"):
        MambaMixer(16, scan="refrence")


def test_mambas_steps_start_log_uniform_in_their_range():
    torch.manual_seed(0)
    dt_proj = torch.nn.Linear(4, 4096)
    draw_steps(dt_proj)
    steps = torch.nn.functional.softplus(dt_proj.bias.detach().double())
    low, high = STEPS
    assert low * 0.999 < steps.min()
    assert steps.max() < high * 1.001
    places = ((steps / low).log() / math.log(high / low)).sort().values
    torch.testing.assert_close(places, torch.linspace(0, 1, 4096, dtype=torch.float64), atol=0.03, rtol=0)
    assert dt_proj.weight.abs().max().item() == pytest.approx(0.5, rel=0.01)
