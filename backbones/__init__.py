"""Backbones: pixels -> tokens."""
