"""Random draws that hang on a name, so that no generator has to be saved."""

from __future__ import annotations

import hashlib

import torch


def generator(key: str) -> torch.Generator:
    """A generator on the CPU; equal keys draw alike."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(seed)
