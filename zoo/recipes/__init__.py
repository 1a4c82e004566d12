"""Published trainings as complete frozen rows, one file per paper; `catalogue` has them all by name."""
