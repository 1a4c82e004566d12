import pytest
import torch

from backbones.meta import FILLING, meta_device
from zoo.registry import create_model


@pytest.mark.parametrize("name", ["vit_pico", "videomamba_pico", "timesformer_pico", "umt_pico", "vjepa_pico"])
def test_the_network_has_the_names_shapes_and_formats_of_the_real_one_and_no_values(name):
    with meta_device():
        model = create_model(name)
    twin = create_model(name)
    state, real = model.state_dict(), twin.state_dict()
    assert all(tensor.is_meta for tensor in state.values())
    assert {name: (it.shape, it.dtype) for name, it in state.items()} == {
        name: (it.shape, it.dtype) for name, it in real.items()
    }
    assert [it.requires_grad for it in model.parameters()] == [
        it.requires_grad for it in create_model(name).parameters()
    ]


@pytest.mark.parametrize("name", sorted(FILLING))
def test_only_tensors_without_memory_stay_as_they_are(name):
    arguments = {"add_": (1,), "sub_": (1,), "mul_": (2,), "fill_": (3,), "clamp_": (1, 2), "copy_": (torch.ones(4),)}
    values = torch.full((4,), 0.5)
    with meta_device():
        changed = getattr(values, name)(*arguments.get(name, ()))
        unfilled = torch.empty(4)
        assert getattr(unfilled, name)(*arguments.get(name, ())) is unfilled
    assert changed is values
    assert (values != 0.5).any()


def test_the_device_is_left_with_the_block():
    with meta_device():
        pass
    assert not torch.empty(1).is_meta
