"""The one way in which loops are compiled here."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

C = TypeVar("C", bound=Callable[..., Any])


def compiled(loop: C) -> C:
    """Machine code for a loop over arrays, cached on disk; other Python threads run beside it.

    The cache of a loop is stale when a loop of another file that it calls has changed: delete
    the ``__pycache__`` beside it after such an edit.
    """
    return cast(C, numba.njit(cache=True, nogil=True)(loop))
