"""A command's docstring as its help."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_AS_IS = "\b\n"
"""Tells typer not to wrap the paragraph that follows."""


def help_of(command: Callable[..., Any]) -> str:
    """The docstring; an example keeps its lines.

    >>> def command():
    ...     '''Do it.
    ...
    ...     Example:
    ...
    ...         do it
    ...         do it twice
    ...     '''
    >>> help_of(command).split("\\n")[2:]
    ['\\x08', 'Example:', '    do it', '    do it twice']
    """
    text = inspect.getdoc(command) or ""
    return text.replace("Example:\n\n", f"{_AS_IS}Example:\n")
