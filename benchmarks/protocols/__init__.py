"""Protocols: how a system is evaluated on a suite."""
