"""A paper about dark and light videos, whose rows can be measured within a moment."""

from benchmarks.paper_tables import read_paper

PAPER = """
title = "Dark and light"
reference = "arXiv 0"
code = "a/b"
[sources.one]
kind = "paper"
where = "Table 1"
[sources.page]
kind = "model zoo"
where = "README"

[tables.shade]
title = "Shades"
suite = "tiny_files"
task = "shade"
protocol = "as_is"
metric = "top1"
source = "one"
views = "2x1"

[[tables.shade.rows]]
name = "mamba"
system = "VideoMamba-Ti"
card = "videomamba_tiny.k400_f8_res224"
values = { top1 = 50.0, gflops_per_view = 9 }
conflicts = [{ metric = "top1", value = 51.0, source = "page", note = "rounded" }]

[[tables.shade.rows]]
name = "umt"
system = "UMT-B"
card = "umt_base.k710_ft_k400_f8_res224"
views = "1x3"
values = { top1 = 90.0, top5 = "not available", params_m = 87 }

[[tables.shade.rows]]
name = "unreleased"
system = "Net"
recipe = "vjepa_large_16_224.videomix2m_k400_ft"
values = { top1 = 90.0 }

[[tables.shade.rows]]
name = "quoted"
system = "Theirs"
ours = false
values = { top1 = 80.0 }

[[tables.shade.rows]]
name = "sizes"
system = "Net"
card = "videomamba_tiny.k400_f8_res224"
values = { params_m = 7 }

[[tables.shade.rows]]
name = "lost"
system = "Net"
card = "videomamba_tiny.k400_f8_res224"
values = { top1 = "not available" }

[[tables.shade.rows]]
name = "pretrained"
system = "VideoMAE"
card = "videomae_base.ssv2_pt_e800"
values = { top1 = 70.0 }

[[tables.shade.rows]]
name = "missing"
system = "Mamba and text"
card = "videomamba_middle_mm.5m_f8_res224"
values = { top1 = 70.0 }

[tables.moments]
title = "Moments, sampled by segments"
suite = "ssv2"
protocol = "as_is"
metric = "top1"
source = "one"
views = "4x3"
[[tables.moments.rows]]
name = "mamba"
system = "VideoMamba-Ti"
card = "videomamba_tiny.ssv2_f8_res224"
frames = 8
values = { top1 = 65.1 }
[[tables.moments.rows]]
name = "longer"
system = "VideoMamba-Ti"
card = "videomamba_tiny.ssv2_f8_res224"
frames = 16
views = "2x3"
values = { top1 = 66.0 }

[tables.boxes]
title = "Boxes"
suite = "ava22"
protocol = "detection"
metric = "map"
source = "one"
[[tables.boxes.rows]]
name = "umt"
system = "UMT"
values = { map = 30.0 }

[tables.speed]
title = "Speed"
suite = ""
protocol = "efficiency"
metric = "times_faster"
source = "one"
[[tables.speed.rows]]
name = "mamba"
system = "VideoMamba"
values = { times_faster = 6 }

[tables.probe]
title = "Shades, probed"
suite = "tiny_files"
task = "shade"
protocol = "linear"
metric = "top1"
source = "one"
views = "1x1"
[[tables.probe.rows]]
name = "mamba"
system = "VideoMamba-Ti"
card = "videomamba_tiny.k400_f8_res224"
values = { top1 = 95.0 }

[tables.few]
title = "Shades, from few videos"
suite = "tiny_files"
task = "shade"
protocol = "low_shot"
share = 0.05
metric = "top1"
source = "one"
views = "1x1"
[[tables.few.rows]]
name = "mamba"
system = "VideoMamba-Ti"
card = "videomamba_tiny.k400_f8_res224"
values = { top1 = 60.0 }

[tables.tuned]
title = "Shades, fine-tuned"
suite = "tiny_files"
task = "shade"
protocol = "finetune"
metric = "top1"
source = "one"
views = "1x1"
[[tables.tuned.rows]]
name = "mamba"
system = "VideoMamba-Ti"
start = "videomamba_tiny.k400_f8_res224"
frames = 8
values = { top1 = 95.0 }
[[tables.tuned.rows]]
name = "of_images"
system = "VideoMamba-Ti"
start = "videomamba_tiny.in1k_res224"
frames = 8
values = { top1 = 93.0 }
"""


def tiny_paper(folder):
    """The paper `tiny`."""
    file = folder / "tiny.toml"
    file.write_text(PAPER, encoding="utf-8")
    return read_paper(file)
