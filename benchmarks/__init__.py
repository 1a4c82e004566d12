"""Benchmarks: how systems are measured and compared, and the `zoo` command."""
