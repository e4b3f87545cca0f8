"""Ranks, intervals, tables and comparisons. Imports no model."""
