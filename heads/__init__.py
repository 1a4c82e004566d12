"""Heads: tokens -> answers."""
