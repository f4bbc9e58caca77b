"""Tables of figures on a console that is too narrow for them, or on none."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from stream_prune.cli.compare_board import print_table


@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_is_never_cut(terminal: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, width=40, force_terminal=terminal)
    figures = [f"+0.{place:02d} % (-0.06 to +0.23)" for place in range(16)]
    head = ["policy", *(f"figure {place}" for place in range(16))]
    print_table(console, [head, ["adaptive", *figures]], 1)
    *_, line = file.getvalue().splitlines()
    assert all(figure in line for figure in figures)
    assert "…" not in file.getvalue()
