"""Suites: one file of constants per dataset."""
