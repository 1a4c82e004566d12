"""A small classifier, somebody else's weights for it, and whether anything has changed."""

import torch

import zoo


def create(num_classes=5, **overrides):
    torch.manual_seed(1)
    return zoo.create_model("vit_pico", num_classes=num_classes, embed_dim=32, depth=2, num_heads=2, **overrides)


def somebody_elses_weights():
    torch.manual_seed(2)
    return {name: torch.randn_like(tensor) for name, tensor in create().state_dict().items()}


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_equal(state, other):
    assert state.keys() == other.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, other[name]), name


def torch_file(path, value):
    torch.save(value, path)
    return path
