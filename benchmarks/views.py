"""Test views by the name of who publishes them: how many clips and crops, which frames, how they become one answer.

The frame numbers and crops behind the rules are those of `zoo.data.sampling` and `zoo.data.transforms`, which are held
against the authors' own tables. Facts marked [M] are from memory; all others were read in the repositories named.
"""

from dataclasses import dataclass, replace

from zoo.card import ClipSpec
from zoo.suggest import unknown
from zoo.training.predictions import ATTENDED, SOFTMAX


@dataclass(frozen=True, kw_only=True)
class Views:
    """How a paper cuts a test video into views. Short sides are the crop's own in all of them: crops lie side by side.

    Attributes:
        name: paper and data set.
        sampling: rule that chooses frames, see `zoo.card.ClipSpec`.
        clips: temporal clips per video.
        crops: spatial crops per clip.
        frames: frames of the paper's clips, for the record: how many a clip has is the network's own.
        stride: frames between sampled ones; 1 for rules without a stride.
        rule: how views are merged, see `zoo.training.predictions.MERGE_RULES`.
        source: where it stands.
    """

    name: str
    sampling: str
    clips: int
    crops: int
    frames: str
    source: str
    stride: int = 1
    rule: str = SOFTMAX

    def of(self, network: ClipSpec) -> ClipSpec:
        """The clips that a network gets: its frames, size and normalisation, these views."""
        return ClipSpec.from_dict(
            {
                **replace(network, short_side=None).to_dict(),
                "sampling": self.sampling,
                "stride": self.stride,
                "clips": self.clips,
                "crops": self.crops,
            }
        )


_UMT = "OpenGVLab/unmasked_teacher single_modality/exp/finetuning"
_MAMBA = "OpenGVLab/VideoMamba videomamba/video_sm/exp"
_JEPA, _JEPA_2 = "facebookresearch/jepa configs/evals", "facebookresearch/vjepa2 configs/eval"
# timesformer/datasets/decoder.py: one clip begins at delta * 0 / 1, and its frames are a linspace of the window.
_TIMESFORMER = (
    "facebookresearch/TimeSformer configs/Kinetics; its reader takes the first window of the video at 30 frames per "
    "second and spreads frames over it with both ends included; here the window lies in the middle, frames a "
    "stride apart"
)
_VIDEOMAE = "MCG-NJU/VideoMAE FINETUNE.md and scripts"

_ALL = (
    Views(
        name="videomae_k400",
        sampling="strided",
        stride=4,
        frames="16",
        clips=5,
        crops=3,
        source=f"{_VIDEOMAE}/kinetics",
    ),
    Views(name="videomae_ssv2", sampling="segments", frames="16", clips=2, crops=3, source=f"{_VIDEOMAE}/ssv2"),
    Views(
        name="mae_st_k400",
        sampling="dense",
        stride=4,
        frames="16",
        clips=7,
        crops=3,
        source="facebookresearch/mae_st FINETUNE.md; the seven clips [M]. Its reader spreads frames over a window at "
        "30 per second with both ends included (util/decoder/decoder.py); here they are every fourth frame of the file",
    ),
    Views(
        name="timesformer_k400",
        sampling="dense",
        stride=32,
        frames="8",
        clips=1,
        crops=3,
        source=_TIMESFORMER,
    ),
    Views(
        name="timesformer_hr_k400",
        sampling="dense",
        stride=16,
        frames="16",
        clips=1,
        crops=3,
        source=_TIMESFORMER,
    ),
    Views(
        name="timesformer_large_k400",
        sampling="dense",
        stride=4,
        frames="96",
        clips=1,
        crops=3,
        source=_TIMESFORMER,
    ),
    Views(name="umt_k400", sampling="uniform", frames="8 or 16", clips=4, crops=3, source=f"{_UMT}/k400"),
    Views(
        name="umt_ssv2", sampling="segments", frames="8", clips=2, crops=3, source=f"{_UMT}/ssv2; tables say 4 clips"
    ),
    Views(name="umt_mit", sampling="uniform", frames="8", clips=4, crops=3, source=f"{_UMT}/mit"),
    Views(name="videomamba_k400", sampling="uniform", frames="8 to 64", clips=4, crops=3, source=f"{_MAMBA}/k400"),
    Views(
        name="videomamba_ssv2",
        sampling="segments",
        frames="8 or 16",
        clips=2,
        crops=3,
        source=f"{_MAMBA}/ssv2; tables say 4 clips, of which its reader has two",
    ),
    Views(
        name="videomamba_breakfast",
        sampling="uniform",
        frames="32 or 64",
        clips=4,
        crops=3,
        source=f"{_MAMBA}/breakfast",
    ),
    Views(
        name="videomamba_coin",
        sampling="uniform",
        frames="32 or 64",
        clips=10,
        crops=3,
        source=f"{_MAMBA}/coin; one of its eight scripts has 4 clips",
    ),
    Views(
        name="vjepa_k400",
        sampling="vjepa",
        stride=4,
        frames="16",
        clips=8,
        crops=3,
        rule=ATTENDED,
        source=f"{_JEPA}; its loader draws the place of a window at random, here it is the same every time",
    ),
    Views(name="vjepa_ssv2", sampling="vjepa", stride=4, frames="16", clips=2, crops=3, rule=ATTENDED, source=_JEPA),
    Views(name="vjepa2_coin", sampling="vjepa", stride=4, frames="16", clips=8, crops=3, rule=ATTENDED, source=_JEPA_2),
    Views(
        name="vjepa2_diving48", sampling="vjepa", stride=2, frames="32", clips=4, crops=3, rule=ATTENDED, source=_JEPA_2
    ),
    Views(
        name="internvideo2_k400", sampling="uniform", frames="8 or 16", clips=4, crops=3, source="arXiv 2403.15377 [M]"
    ),
)
VIEWS = {views.name: views for views in _ALL}


def get_views(name: str) -> Views:
    """The views of a name.

    Raises:
        UnknownNameError: naming the closest.
    """
    if name not in VIEWS:
        raise unknown("test views", name, VIEWS)
    return VIEWS[name]
