"""Training: the shared Lightning modules."""
