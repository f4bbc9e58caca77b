"""``stream-prune fit-scaling``: a law of loss and size through finished runs, and its limits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stream_prune.scaling.study import Study


def fit_scaling(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Finished run folders.")],
    along: Annotated[
        str, typer.Option(help="What is scaled: data, width, rows, dim, macs or compute.")
    ] = "data",
    predict: Annotated[
        list[float] | None, typer.Option(help="A size to tell the loss at (repeatable).")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The plots.")] = Path(
        "scaling.html"
    ),
) -> None:
    """Fit NE = a x^-b + c to runs, policy by policy, with intervals and a test on the largest.

    Where the points do not carry an extrapolation, there is none, and the reason is said.

    Example:

        stream-prune fit-scaling runs/compare/runs/* --along macs -o scaling.html
    """
    from stream_prune.errors import RunError
    from stream_prune.scaling.plot import write_plots
    from stream_prune.scaling.points import AXES, points
    from stream_prune.scaling.study import study

    words = AXES[along][0] if along in AXES else along
    fitted: dict[str, Study] = {}
    refused: dict[str, str] = {}
    for each in points(runs, along):
        try:
            fitted[each.name] = study(each.x, each.loss)
        except RunError as error:
            refused[each.name] = str(error)
    for name, found in fitted.items():
        typer.echo(describe(name, found, words))
        for size in predict or []:
            try:
                loss, (low, high) = found.predict(size)
                typer.echo(f"  at {size:,.6g}: NE {loss:.4f} ({low:.4f} to {high:.4f})")
            except RunError as error:
                typer.echo(f"  {error}")
    for name, why in refused.items():
        typer.echo(f"{name}: no law: {why}")
    if not fitted:
        raise RunError("no law could be fitted: " + "; ".join(refused.values()))
    typer.echo(f"plots: {write_plots(fitted, words, output)}")


def describe(name: str, found: Study, words: str) -> str:
    """A fitted law in words: its parameters with intervals, its test, how far it may be trusted."""
    from stream_prune.scaling.study import REACH

    law = found.law
    told = ", ".join(
        f"{key} {getattr(law, key):.4g} ({low:.4g} to {high:.4g})"
        for key in "abc"
        for low, high in [found.interval(key)]
    )
    lines = [
        f"{name}: NE = a x^-b + c, x: {words}; {len(found.x)} points, "
        f"noise {100 * found.noise:.2f} %",
        f"  {told}",
    ]
    if found.held_out:
        errors = ", ".join(f"{100 * error:+.2f} % at {x:,.4g}" for x, error in found.held_out)
        lines.append(f"  fitted without the largest sizes it is off by {errors}")
    lines.append(
        f"  not to be extrapolated: {found.refusal}"
        if found.refusal
        else f"  may be trusted up to {REACH:g} times the largest size"
    )
    return "\n".join(lines)
