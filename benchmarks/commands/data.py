"""`zoo data`: commands about a folder of videos and its lists."""

import argparse

from benchmarks.commands import data_benchmark, data_check, data_prepare, data_stats

WORDS = "check, describe, time and re-encode the videos of a suite or a list"
EXAMPLES = """\
examples:
  zoo data check k400 --data /data/k400        decode every video, and write down what was found
  zoo data stats k400 --data /data/k400        classes, splits, durations
  zoo data benchmark k400 --data /data/k400 --for videomae_base
  zoo data prepare k400 --data /data/k400 --out /data/k400_320"""

# Verbs: WORDS, EXAMPLES, options(parser), run(arguments).
VERBS = {
    "check": data_check,
    "stats": data_stats,
    "benchmark": data_benchmark,
    "prepare": data_prepare,
}


def options(parser: argparse.ArgumentParser) -> None:
    """Add a parser for each verb."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
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
        verb.set_defaults(verb_parser=verb)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    return VERBS[arguments.verb].run(arguments)
