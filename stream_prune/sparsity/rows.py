"""Rows: the capacity of every embedding table under the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.row_split import LEAST, Curve, Curved, better, split


class RowTable(Protocol):
    """What the controller needs of an embedding table; which rows it keeps is its own affair."""

    @property
    def name(self) -> str: ...

    @property
    def capacity(self) -> int:
        """How many rows it may hold."""
        ...

    @property
    def bytes_per_row(self) -> int: ...

    def resize(self, n: int) -> None:
        """Set the capacity to ``n`` rows; on a cut the best rows stay."""
        ...


class Storage(Protocol):
    """What holds several tables, and can resize them for the price of one."""

    def resize(self, capacities: Mapping[str, int]) -> None:
        """Set the capacities of these tables, by their names."""
        ...


@runtime_checkable
class Together(Protocol):
    """A table that lies in one storage with others."""

    @property
    def storage(self) -> Storage: ...


def resize(tables: Mapping[str, RowTable], rows: Mapping[str, int]) -> None:
    """Bring tables to these capacities; those of one storage at once, as each of them moves all."""
    shared: dict[int, tuple[Storage, dict[str, int]]] = {}
    for name, table in tables.items():
        if table.capacity == rows[name]:
            continue
        if isinstance(table, Together):
            _, wanted = shared.setdefault(id(table.storage), (table.storage, {}))
            wanted[table.name] = rows[name]
        else:
            table.resize(rows[name])
    for storage, wanted in shared.values():
        storage.resize(wanted)


def capacities(full: Mapping[str, int], budget: Budget) -> dict[str, int]:
    """Per table the greatest capacity that the budget allows; small tables stay whole.

    >>> capacities({"user": 1000, "weekday": 7}, Budget(macs=0.2, rows=0.25))
    {'user': 250, 'weekday': 7}
    """
    if budget.rows is None:
        return dict(full)
    return {
        name: rows if rows <= budget.whole_tables_below else max(1, int(rows * budget.rows))
        for name, rows in full.items()
    }


def allotted(
    tables: Mapping[str, RowTable], full: Mapping[str, int], now: Mapping[str, int], budget: Budget
) -> dict[str, int]:
    """The capacities that the budget gives the tables at this moment.

    Split by coverage, if it says so, over the tables that know theirs, each keeping ``LEAST`` of
    its proportional part; what is in force stays where no other split is worth moving rows for.

    Args:
        full: rows of every table at full size.
        now: its capacity in force.
    """
    even = capacities(full, budget)
    if budget.split != "coverage":
        return even
    settled = dict(now) if sum(now.values()) <= sum(even.values()) else even
    curves = {name: _curve(tables[name]) for name, part in even.items() if part < full[name]}
    curves = {name: curve for name, curve in curves.items() if curve}
    least = {name: max(1, int(LEAST * even[name])) for name in curves}
    total = sum(settled[name] for name in curves)
    wanted = settled | split(curves, total, least, full)
    return wanted if better(curves, wanted, settled) else settled


def _curve(table: RowTable) -> Curve:
    if not isinstance(table, Curved):
        return []
    return [(point.rows, point.coverage) for point in table.coverage_curve()]
