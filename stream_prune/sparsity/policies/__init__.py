"""Policies: when to shrink and grow, one file each."""
