import itertools
from types import SimpleNamespace

import pytest
import pytorch_lightning as lightning
import torch

from tests.zoo.data.clips import break_file, write_set
from zoo.batch import Batch
from zoo.card import ClipSpec
from zoo.data import loading
from zoo.data.cache import cached
from zoo.data.datamodule import FailurePolicy, VideoDataModule
from zoo.data.decode import DecodeError
from zoo.data.loading import EndlessBatches, FailureLog, UnreadableVideoError
from zoo.data.records import Record, Span
from zoo.data.transforms import Augment

SPEC = ClipSpec(num_frames=4, sampling="uniform", img_size=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), flip=False)
VIEWS = ClipSpec(
    num_frames=2, sampling="uniform", img_size=8, short_side=16, mean=(0.0,) * 3, std=(1.0,) * 3, clips=3, crops=2
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def records(folder):
    return write_set(folder, num_frames=(8, 8, 12, 8, 9))


@pytest.fixture(scope="module")
def cache(records, folder):
    return cached([record.path for record in records], folder / "decoded", progress=False)


def module(records, **options):
    return VideoDataModule(spec=options.pop("spec", SPEC), train=records, test=records, batch_size=2, **options)


def batches(data, count):
    return list(itertools.islice(iter(data.train_dataloader()), count))


def same(first, second):
    pairs = [pair for x, y in zip(first, second, strict=True) for pair in zip(x[:5], y[:5], strict=True)]
    return all(torch.equal(a, b) if a is not None and b is not None else a is b for a, b in pairs)


@pytest.mark.parametrize("from_cache", [False, True])
def test_training_clips_depend_on_seed_epoch_and_video_alone(records, cache, from_cache):
    def run(**options):
        return batches(module(records, cache=cache if from_cache else None, **options), 6)

    first = run()
    assert same(first, run())
    assert same(first, run(num_workers=2))
    assert not same(first, run(seed=1))


def test_cached_and_decoded_clips_are_equal(records, cache):
    assert same(batches(module(records), 4), batches(module(records, cache=cache), 4))
    plain = list(module(records).test_dataloader())
    assert same(plain, list(module(records, cache=cache).test_dataloader()))


def test_epochs_show_other_frames_of_a_video(records, cache):
    seen = [b.video[i] for b in batches(module(records[2:3], cache=cache), 8) for i in range(2)]
    assert len({tuple(clip[0, :, 0, 0].tolist()) for clip in seen}) > 4


def test_frames_labels_and_rows_belong_together(records, cache):
    for batch in batches(module(records, cache=cache), 5):
        assert isinstance(batch, Batch)
        assert batch.video.shape == (2, 3, 4, 16, 16)
        assert torch.equal(batch.label, batch.row % 3)
        levels = batch.video[:, 0, :, 8, 8] * 255
        assert torch.equal((levels[:, 0] / 20).floor().long() <= batch.row + 2, torch.tensor([True, True]))
        assert (levels[:, 0] >= 20 * batch.row - 3).all()


def test_repeats_cut_several_clips_from_one_reading(records, cache):
    data = module(records, cache=cache, repeats=3, augment=Augment(area=(0.2, 0.5)))
    batch = batches(data, 1)[0]
    assert batch.video.shape[0] == 6
    assert batch.row.tolist() == [batch.row[0].item()] * 3 + [batch.row[3].item()] * 3


@pytest.mark.parametrize("own_frames", [False, True])
def test_repeats_share_their_frames_unless_they_draw_their_own(records, cache, own_frames):
    augment = Augment(crop="centre", own_frames=own_frames)
    loaded = batches(module(records[2:3], cache=cache, repeats=4, augment=augment), 3)
    seen = [{tuple(clip[0, :, 8, 8].tolist()) for clip in batch.video[:4]} for batch in loaded]
    assert all(batch.video.shape[0] == 8 for batch in loaded)
    assert all((len(frames) > 1) == own_frames for frames in seen)


def test_repeats_with_frames_of_their_own_open_a_video_once(records, monkeypatch):
    opened = []

    def probe(path):
        opened.append(path)
        return loading_probe(path)

    loading_probe = loading.probe
    monkeypatch.setattr(loading, "probe", probe)
    batches(module(records[:2], repeats=4, augment=Augment(own_frames=True)), 1)
    assert len(opened) == 2


def test_evaluation_gives_every_view_of_every_video_in_order(records, cache):
    data = module(records, spec=VIEWS, cache=cache)
    loaded = list(data.test_dataloader())
    rows = torch.cat([batch.row for batch in loaded])
    assert rows.tolist() == [row for row in range(5) for _ in range(6)]
    assert torch.cat([batch.label for batch in loaded]).tolist() == [row % 3 for row in range(5) for _ in range(6)]
    clip = loaded[0].video[:, 0, :, 0, 0] * 255
    # Segments of 3.5 frames: offsets int(0.875 (c + 1)) = 0, 1, 2 on starts 0 and round(3.5) = 4; levels are 4 apart.
    expected = torch.tensor([[0, 16], [4, 20], [8, 24]]).repeat_interleave(2, 0).float()
    torch.testing.assert_close(clip, expected, atol=2.5, rtol=0)


def test_evaluation_draws_nothing(records, cache):
    data = module(records, cache=cache)
    state = torch.random.get_rng_state()
    first, again = list(data.test_dataloader()), list(data.test_dataloader())
    assert same(first, again)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_training_draws_nothing_from_the_global_generator(records, cache):
    state = torch.random.get_rng_state()
    batches(module(records, cache=cache), 2)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_training_replaces_bad_videos_counts_them_and_says_which(tmp_path):
    records = write_set(tmp_path, num_frames=(4,) * 6)
    break_file(records[4])
    data = module(records, failures=FailurePolicy(limit=0.2))
    loaded = batches(data, 9)
    assert 4 not in {int(row) for batch in loaded for row in batch.row}
    assert all(len(batch.video) == 2 for batch in loaded)
    assert [failure.path for failure in data.train_failures] == [str(records[4].path)]
    assert data.train_failures[0].reason
    assert same(loaded, batches(module(records, failures=FailurePolicy(limit=0.2)), 9))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_training_stops_when_too_many_videos_are_bad(tmp_path, num_workers):
    records = write_set(tmp_path, num_frames=(4,) * 6)
    for record in records[2:5]:
        break_file(record)
    data = module(records, num_workers=num_workers, failures=FailurePolicy(limit=0.35))
    with pytest.raises(UnreadableVideoError, match=r"3 of 6 training videos .* allowed share of 0\.35.*\.mp4"):
        batches(data, 9)


def test_failures_of_all_processes_of_a_run_are_counted_together(tmp_path):
    records = write_set(tmp_path, num_frames=(4,) * 6)
    shared = tmp_path / "first process"
    second = module(records, failures=FailurePolicy(limit=0.4))
    second.trainer = SimpleNamespace(world_size=2, strategy=SimpleNamespace(broadcast=lambda _: str(shared)))
    second.setup("fit")
    first = FailureLog(6, limit=0.4, file=shared)
    first.add(DecodeError("a.mp4", "broken"))
    second.log.add(DecodeError("b.mp4", "broken"))
    assert len(first.failures) == 2
    with pytest.raises(UnreadableVideoError, match="3 of 6"):
        second.log.add(DecodeError("c.mp4", "broken"))


def test_temporary_failure_logs_go_away_with_their_module(records):
    data = module(records)
    file = data.log.file
    assert file.exists()
    del data
    assert not file.exists()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_evaluation_stops_at_a_bad_video_and_names_it(tmp_path, num_workers):
    records = write_set(tmp_path, num_frames=(4,) * 3)
    break_file(records[1])
    with pytest.raises(UnreadableVideoError, match=r"1\.mp4"):
        list(module(records, num_workers=num_workers).test_dataloader())


def test_cached_evaluation_names_all_bad_videos_before_it_starts(tmp_path):
    records = write_set(tmp_path, num_frames=(4,) * 4)
    break_file(records[1])
    break_file(records[3])
    bad = cached([record.path for record in records], tmp_path / "decoded", progress=False)
    with pytest.raises(UnreadableVideoError, match=r"2 videos.*1\.mp4.*3\.mp4"):
        module(records, cache=bad).test_dataloader()


@pytest.mark.parametrize("source", ["cache", "files", "workers"])
def test_reported_videos_are_handed_on_never_replaced(tmp_path, source):
    records = write_set(tmp_path, num_frames=(4,) * 6)
    break_file(records[1])
    records[4].path.unlink()
    bad = cached([record.path for record in records], tmp_path / "decoded", progress=False)
    data = module(
        records,
        cache=bad if source == "cache" else None,
        num_workers=2 if source == "workers" else 0,
        failures=FailurePolicy(in_evaluation="report"),
    )
    found = list(data.test_dataloader())
    assert torch.cat([batch.row for batch in found]).tolist() == [0, 2, 3, 5]
    lost = [failure for batch in found for failure in batch.failed]
    assert [(failure.row, failure.path) for failure in lost] == [(row, str(records[row].path)) for row in (1, 4)]
    assert all(failure.reason for failure in lost)
    assert [len(batch.video) for batch in found] == [1, 2, 1]


def test_a_batch_without_any_readable_video_still_says_so(tmp_path):
    records = write_set(tmp_path, num_frames=(4,) * 2)
    for record in records:
        break_file(record)
    (batch,) = module(records, failures=FailurePolicy(in_evaluation="report")).test_dataloader()
    assert batch.video.shape == (0, 3, 4, 16, 16)
    assert [failure.row for failure in batch.failed] == [0, 1]


def test_views_are_numbered_over_all_windows_of_a_row(tmp_path):
    records = write_set(tmp_path, num_frames=(8, 8))
    halves = [Record(records[0].path, 0, 7, Span(first, first + 3, "frames")) for first in (0, 4)]
    data = module([*halves, records[1]], spec=VIEWS)
    found = list(data.test_dataloader())
    assert torch.cat([batch.row for batch in found]).tolist() == [7] * 12 + [1] * 6
    assert torch.cat([batch.view for batch in found]).tolist() == [*range(12), *range(6)]
    assert data.test_windows == {7: 2, 1: 1}


class Watcher(lightning.LightningModule):
    """Remembers what it was shown; trains nothing."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.shown = []

    def training_step(self, batch, batch_idx):
        self.shown.append(batch)
        return self.weight.sum()

    def test_step(self, batch, batch_idx):
        self.shown.append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(**options):
    return lightning.Trainer(
        accelerator="cpu",
        max_epochs=-1,
        limit_val_batches=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        **options,
    )


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*", "ignore:.*treespec.*", "ignore:.*no `validation_step`.*"
)
def test_a_resumed_lightning_run_sees_what_the_uninterrupted_one_saw(records, cache, tmp_path):
    whole, first, second = Watcher(), Watcher(), Watcher()
    trainer(max_steps=7).fit(whole, module(records, cache=cache))
    early = trainer(max_steps=3)
    early.fit(first, module(records, cache=cache))
    early.save_checkpoint(tmp_path / "three.ckpt")
    trainer(max_steps=7).fit(second, module(records, cache=cache), ckpt_path=tmp_path / "three.ckpt", weights_only=True)
    assert len(whole.shown) == 7
    assert same(first.shown + second.shown, whole.shown)


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*treespec.*")
def test_lightning_evaluates_every_video_once(records, cache):
    watcher = Watcher()
    trainer().test(watcher, module(records, cache=cache), verbose=False)
    assert torch.cat([batch.row for batch in watcher.shown]).tolist() == [0, 1, 2, 3, 4]


def test_impossible_modules_are_refused(records):
    with pytest.raises(ValueError, match="flips would change labels"):
        module(records, augment=Augment(flip=0.5))
    with pytest.raises(ValueError, match="batch_size"):
        VideoDataModule(spec=SPEC, train=records, batch_size=0)
    with pytest.raises(ValueError, match="worker_timeout_s must be positive"):
        module(records, worker_timeout_s=0.0)
    with pytest.raises(ValueError, match="no training list"):
        VideoDataModule(spec=SPEC, test=records).train_dataloader()
    with pytest.raises(ValueError, match="the list is empty"):
        VideoDataModule(spec=SPEC, train=records).test_dataloader()
    with pytest.raises(ValueError, match="share of videos that may fail"):
        FailureLog(10, limit=1.5)


def test_a_process_of_a_run_reads_its_part_from_its_step_on(records):
    data = module(records)
    data.trainer = SimpleNamespace(global_rank=1, world_size=2, global_step=3, accumulate_grad_batches=2)
    assert data.train_dataloader().batch_sampler == EndlessBatches(
        length=5, batch_size=2, seed=0, start=6, rank=1, world=2
    )
    assert list(data.test_dataloader().batch_sampler) == [[2, 3]]
