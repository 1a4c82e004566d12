"""`zoo tokenize`: a video as codes, and what comes back of them."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backbones.tokenizer import Tokenizer

WORDS = "turn a video into the codes of a tokenizer, and back"
EXAMPLES = """\
examples:
  zoo tokenize clip.mp4 --tokenizer open_magvit2_video_128.ucf101 --out codes
  zoo tokenize clip.mp4 --tokenizer lvmae_tokenizer_tiny --checkpoint trained.safetensors
  zoo tokenize clip.mp4 --tokenizer lvmae_tokenizer_tiny --random      random weights, to try things out
  zoo tokenize codes/clip.codes.npz --decode --out videos

It writes CLIP.codes.npz and CLIP.side_by_side.mp4 (original | reconstruction). Long videos go through window by window;
stopped with Ctrl-C it leaves no file."""
STILL_WINDOW = 16  # frames at a time through a tokenizer that codes them one by one


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument("path", type=Path, metavar="FILE", help="video, or codes with --decode")
    parser.add_argument("--tokenizer", metavar="NAME", help="released weights, or an architecture with --checkpoint")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights of an architecture")
    parser.add_argument("--random", action="store_true", help="random weights of seed 0, to try things out")
    parser.add_argument("--decode", action="store_true", help="turn codes back into a video")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where files are written (here)")
    parser.add_argument("--window", type=int, metavar="N", help="frames that are coded together (the tokenizer's)")
    parser.add_argument("--accelerator", default="auto", metavar="NAME", help="where to compute (auto)")
    parser.add_argument("--json", action="store_true", help="numbers as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Code or decode, and say where the files are."""
    from benchmarks.clip_codes import TokenizeError, decode, read_codes, tokenize
    from zoo.tokenizers import tokenizer_of
    from zoo.training.log import bar_of

    if not arguments.path.is_file():
        raise TokenizeError(f"there is no file {arguments.path}")
    if arguments.decode == (arguments.path.suffix != ".npz"):
        right = "--decode takes an .npz file of codes" if arguments.decode else "codes are turned back with --decode"
        raise TokenizeError(f"{arguments.path}: {right}")
    codes = read_codes(arguments.path) if arguments.decode else None
    name = arguments.tokenizer or (codes.tokenizer if codes else None)
    if name is None:
        raise TokenizeError("name a tokenizer with --tokenizer; zoo list shows them")
    tokenizer = _tokenizer(name, arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with bar_of() as shown:
        task = shown.add_task("windows", total=None)

        def on_window(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        if codes is not None:
            made = arguments.out / f"{arguments.path.name.removesuffix('.npz').removesuffix('.codes')}.decoded.mp4"
            decode(tokenizer, codes, made, on_window=on_window)
        else:
            frames = tokenizer_of(name).clip.num_frames
            window = arguments.window or (frames if tokenizer.tubelet[0] > 1 else STILL_WINDOW)
            told = tokenize(tokenizer, arguments.path, arguments.out, name=name, window=window, on_window=on_window)
    if codes is not None:
        print(json.dumps({"video": str(made)}) if arguments.json else made)  # noqa: T201
    elif arguments.json:
        print(json.dumps(asdict(told), default=str))  # noqa: T201
    else:
        print(  # noqa: T201
            f"{told.bits_per_pixel:.4f} bits per pixel, PSNR {told.psnr:.2f} dB, {100 * told.codebook_usage:.3g} % of "
            f"the codebook used, entropy {told.entropy_bits:.2f} bits per code\n{told.codes}\n{told.video}"
        )
        for note in told.notes:
            print(f"note: {note}")  # noqa: T201
    return 0


def _tokenizer(name: str, arguments: argparse.Namespace) -> "Tokenizer":
    """The tokenizer with the weights that were asked for, in eval mode."""
    import torch

    from benchmarks.clip_codes import TokenizeError
    from zoo.registry import has_tag
    from zoo.tokenizers import create_tokenizer, tokenizer_of
    from zoo.training.features import check_accelerator, device_of

    check_accelerator(arguments.accelerator)
    tokenizer_of(name)  # a misspelt name lacks more than weights
    if arguments.random and arguments.checkpoint:
        raise TokenizeError("--random and --checkpoint exclude each other")
    pretrained = has_tag(name) and not arguments.random
    if not (pretrained or arguments.checkpoint or arguments.random):
        raise TokenizeError(
            f"{name} is an architecture without weights; name released ones (zoo list --pretrained), a file with "
            "--checkpoint, or say --random"
        )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = create_tokenizer(name, pretrained=pretrained, checkpoint_path=arguments.checkpoint)
    return made.eval().to(device_of(arguments.accelerator))
