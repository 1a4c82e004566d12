import pytest

from zoo.recipes.recipe import Recipe


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"warmup_steps": 11}, "11 warm-up steps do not fit into 10 steps"),
        ({"layer_decay": 0.0}, r"layer_decay must lie in \(0, 1\], not 0.0"),
        ({"ema_decay": 1.0}, "ema_decay must lie between 0 and 1, not 1.0"),
        ({"stretch": 0.5}, "stretch must be at least 1, not 0.5"),
        ({"stretch": 1.25}, "choose 'vjepa_cosine'"),
        ({"schedule": "vjepa_linear", "warmup_steps": 3}, "not one of 3 steps"),
        ({"weight_decay": 0.0, "final_weight_decay": 0.1}, "needs a weight_decay above 0"),
        ({"base_final_lr": float("nan")}, "base_final_lr must be at least 0, not nan"),
        ({"gradient_clip": 0.0}, "gradient_clip must be above 0, not 0.0"),
        ({"betas": (0.9, 1.0)}, r"betas must lie in \[0, 1\)"),
        ({"label_smoothing": 1.0}, r"label_smoothing must lie in \[0, 1\), not 1.0"),
    ],
)
def test_impossible_values_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{"steps": 10, "global_batch": 8, "base_lr": 1e-3, **wrong})
