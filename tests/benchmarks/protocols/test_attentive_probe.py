from benchmarks.protocols import attentive_probe
from tests.benchmarks.protocols.clips import tiny_data, tiny_model
from zoo.training.probe import ProbeRecipe


def test_it_learns_from_tokens_and_scores_every_video(tmp_path):
    settings = attentive_probe.Settings(
        recipe=ProbeRecipe(steps=120, batch_size=20, lrs=(1e-9, 5e-3), weight_decay=0.01, held_out=0.3), num_heads=2
    )
    outcome = attentive_probe.run(tiny_model, tiny_data(tmp_path), settings, seed=0, run_dir=tmp_path)
    assert outcome.accuracy > 0.9
    assert outcome.details["lr"] == 5e-3
    assert outcome.rows.tolist() == list(range(12))
    assert outcome.curves[-1]["loss"] < outcome.curves[0]["loss"] / 2
