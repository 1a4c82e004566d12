"""Speed scripts: each times two things interleaved in one run and writes the ratio to benchmarks/results/."""
