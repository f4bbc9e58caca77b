"""Parts that a configuration names: this project's by their name, a user's own by their address."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from stream_prune.errors import ConfigError


def part(key: str, name: str, known: Mapping[str, Any]) -> Any:
    """What ``name`` stands for: one of ``known``, or ``package.module:Name``, which is imported.

    Only a configuration names parts; artifacts and checkpoints hold none that would be imported.

    Args:
        key: of the name in the configuration, for messages.
        name: as it stands there.
        known: this project's own parts.

    Raises:
        ConfigError: it is neither; with what is allowed, or why it cannot be imported.

    >>> part("policy", "fractions:Fraction", {}).__name__
    'Fraction'
    >>> part("policy", "sometimes", {"ads": object})
    Traceback (most recent call last):
    ...
    stream_prune.errors.ConfigError: policy = 'sometimes': must be one of ads, or your own as \
'package.module:Name'
    """
    if name in known:
        return known[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ConfigError(
            f"{key} = {name!r}: must be one of {', '.join(known)}, or your own as "
            "'package.module:Name'"
        )
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise ConfigError(
            f"{key} = {name!r}: cannot be imported: {error}: install the package, or put its "
            "folder on PYTHONPATH"
        ) from None
    except (AttributeError, ValueError):
        raise ConfigError(f"{key} = {name!r}: {module!r} has no {attribute!r}") from None
