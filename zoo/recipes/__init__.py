"""Recipes: functions that return a complete frozen description of a training run."""
