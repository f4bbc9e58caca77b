"""Memory that a swapped-out model leaves behind, given back to the system."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import pyarrow as pa

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
_LARGE = 256 * 2**10


def expect_swaps() -> None:
    """Let a model's large arrays be taken from the system one by one, and not out of a heap.

    By itself glibc takes ever larger ones from its heaps once some have been freed; what is alive
    there keeps the gaps that a model has left from being given back.
    """
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Let the allocators return what nobody uses; without it every swap leaves some MB behind."""
    pa.default_memory_pool().release_unused()
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(name: str) -> Any:
    """A function of glibc's; other C libraries have none such, and return memory by themselves."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
