"""Commands of `zoo` that have a file of their own: each has `options(parser)` and `run(arguments)`."""
