"""Subcommands of `zoo`, one file each: `options(parser)` and `run(arguments)`."""
