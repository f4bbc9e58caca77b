"""Scaling laws: fitted to runs, with intervals, and what they say about budgets."""
