"""Objectives: what a student learns from a batch of clips."""
