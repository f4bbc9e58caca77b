"""``stream-prune list``: a model's versions, and what became of each."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from stream_prune.cli.registered_model import ModelOf, OptionalTrackingUri, registry_of

if TYPE_CHECKING:
    from stream_prune.registry.history import Version

COLUMNS = ("version", "run", "step", "registered (UTC)", "what became of it")


def list_versions(
    model: ModelOf,
    tracking_uri: OptionalTrackingUri = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a version.")] = False,
) -> None:
    """Show the registered versions of a model, oldest first.

    Example:

        stream-prune list runs/quickstart/runs/adaptive
    """
    from stream_prune.registry.history import versions

    registry = registry_of(model, tracking_uri)
    found = versions(registry)
    if as_json:
        for version in found:
            typer.echo(json.dumps(asdict(version)))
        return
    rows = [COLUMNS, *(_cells(version, registry.alias) for version in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(wide) for cell, wide in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _cells(version: Version, champion: str) -> tuple[str, ...]:
    created = datetime.fromtimestamp(version.created / 1000, UTC)
    return (
        str(version.number),
        version.run or "-",
        version.step or "-",
        f"{created:%Y-%m-%d %H:%M}",
        _fate(version, champion),
    )


def _fate(version: Version, champion: str) -> str:
    """What a person wants to know of it, the most important first."""
    words = [f"@{alias}" for alias in version.aliases]
    if version.rolled_back:
        words.append(f"rolled back {version.rolled_back[:16]}")
    if version.refused:
        words.append(f"refused: {version.refused}")
    if version.reign:
        reigns = champion in version.aliases
        words.append(f"champion since {version.since[:16]}" if reigns else "was champion")
    return ", ".join(words) or "registered"
