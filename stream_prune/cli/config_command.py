"""``stream-prune config``: every key of a configuration file."""

from __future__ import annotations


def config() -> None:
    """Print every key of a configuration file: its values, its default, its meaning (Markdown).

    Example:

        stream-prune config > configuration.md
    """
    from stream_prune.cli.config_reference import reference

    print(reference())
