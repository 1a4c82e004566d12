"""What a row would cost: FLOPs of all views of all videos, and the time, where one was measured."""

from collections.abc import Sequence

from benchmarks.evaluation import AS_IS
from benchmarks.paper_flops import MULTIPLY_ADD, PER_VIEW, counted, gflops_of
from benchmarks.plan import plain
from benchmarks.reproduce import Job
from benchmarks.results import Result


def num_videos(job: Job) -> int | None:
    """Videos that are scored, of the largest list in public use; None where nobody states its length."""
    if job.suite is None or job.task is None or job.request is None:
        return None
    sizes = job.suite.sizes_of(job.task.name, job.request.split or job.suite.test_split)
    listed = max(sizes.values(), default=None)
    limit = job.request.limit
    return listed if limit is None else limit if listed is None else min(limit, listed)


def cost_words(job: Job) -> str:
    """FLOPs of an evaluation, counted in multiply-adds as papers print them."""
    request, clip = job.request, job.clip
    if request is None or clip is None:
        return ""
    printed = job.row.values.get(PER_VIEW)
    if printed is None or job.shrunken or not job.row.card:
        sizes = (job.network_name, clip.num_frames, clip.img_size)
        one = counted(*sizes, True) / MULTIPLY_ADD if job.shrunken else gflops_of(*sizes)
        whose = "multiply-adds of the backbone, counted here"
    else:
        one, whose = printed, "as printed"
    views, videos = clip.clips * clip.crops, num_videos(job)
    training = "; what the training costs is not counted" if job.trains else ""
    each = f"{_rounded(one)} GFLOPs a view ({whose}) x {views} views"
    if videos is None:
        return f"{each} = {_rounded(one * views)} GFLOPs a video{training}"
    return f"{each} x {videos:,} videos = {_rounded(one * views * videos / 1e3)} TFLOPs{training}"


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def time_words(job: Job, finished: Sequence[Result]) -> str:
    """How long it takes, after the newest stored evaluation of the same network and views; otherwise how to know."""
    request, clip = job.request, job.clip
    if request is None or clip is None:
        return ""
    wanted = {name: it for name, it in plain(clip.to_dict()).items() if name != "flip"}
    alike = [
        it
        for it in finished
        if (it.identity.system, it.identity.suite, it.identity.protocol) == (request.name, request.suite, AS_IS)
        and request.protocol == AS_IS
        and wanted.items() <= it.settings.get("clip", {}).items()
        and it.n_evaluated
        and not it.details.get("batches_read")  # part of it was computed by an earlier run
    ]
    videos = num_videos(job)
    if not alike or videos is None:
        return "not known: a run with --limit, such as 50, measures it, and the next --dry-run tells it"
    newest = max(alike, key=lambda it: it.created)
    each = newest.seconds / newest.n_evaluated
    return f"about {each * videos / 3600:,.1f} h at {each:.3g} s a video, as measured on {newest.device}"
