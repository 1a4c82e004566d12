"""`zoo data VERB`: what is done with data sets before and beside training."""

import argparse
from types import ModuleType

from benchmarks.commands import data_benchmark, data_check, data_prepare, data_stats, data_synth

WORDS = "check, describe, time and re-encode the videos of a suite or a list, or generate small ones"
EXAMPLES = """\
examples:
  zoo data synth coin --out /tmp/coin          a small generated data set in the layout of COIN
  zoo data check k400 --data /data/k400        decode every video, and write down what was found
  zoo data stats k400 --data /data/k400        classes, splits, durations
  zoo data benchmark k400 --data /data/k400 --for videomae_base
  zoo data prepare k400 --data /data/k400 --out /data/k400_320

See zoo data VERB --help for options and examples of a verb."""

# Each verb has a file of its own: WORDS, EXAMPLES, options(parser), run(arguments).
VERBS: dict[str, ModuleType] = {
    "synth": data_synth,
    "check": data_check,
    "stats": data_stats,
    "benchmark": data_benchmark,
    "prepare": data_prepare,
}


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=type(parser))
    for name, module in VERBS.items():
        verb = verbs.add_parser(
            name,
            help=module.WORDS,
            description=module.WORDS[0].upper() + module.WORDS[1:] + ".",
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.options(verb)
        # The command line names the closest option of the parser that was asked.
        verb.set_defaults(asked=verb)


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says."""
    status: int = VERBS[arguments.verb].run(arguments)
    return status
