"""Memory that a swapped-out model leaves behind, given back to the system."""

from __future__ import annotations

import ctypes
import sys

import pyarrow as pa


def give_back() -> None:
    """Let the allocators return what nobody uses; without it every swap leaves some MB behind."""
    pa.default_memory_pool().release_unused()
    trim = None if sys.platform != "linux" else getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc's; other C libraries return memory by themselves
        trim(0)
