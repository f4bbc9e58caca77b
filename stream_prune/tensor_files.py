"""Errors of safetensors, in which the operating system's own are hidden as text."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError


@contextmanager
def system_errors() -> Iterator[None]:
    """Raise the OSError that a SafetensorError tells of, a full disk say, in place of it."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
