"""Rows that follow the stream beside fixed ones, hashed ones and all of them.

    python benchmarks/rows.py [--quick] [--json FILE] [--work FOLDER] [--logs A,B]
                              [--contenders 'A;B'] [--options] [--caches] [--widths]

On the flights, MovieLens 100K and a synthetic click log whose ids are born and die. Columns of more
than 256 ids get 20 % or 5 % of the rows that the full run uses (a row for every id ever seen).
Full, fixed and adaptive begin alike: all rows for the first 20 % of the stream, then the tables are
cut; ``fixed`` freezes the best rows, ``adaptive`` lets them follow the stream. The hashed ones have
their share of rows from the start: ``modulo hashing`` one row an id, ``compositional`` the sum of
two rows by two hashes. Every batch of 256 is scored, then learned at once (no label delay); rows
change hands every four batches; figures are of what comes after the first 20 %, mean over three
seeds. ``adaptive`` splits the tables' total by their coverage curves, ``adaptive, proportional``
gives each table its share. Each contender learns at its own best rate (both rates times one
factor), found with another seed over the same stream.

What maturity and churn count in ``adaptive`` was chosen on MovieLens 100K alone, with the search
seed, in two rounds with a change of the rule between them (docs/embeddings.md). Runs that are
finished are kept in the work folder; start it again to go on. ``--options`` adds fixed half-lives
and other settings beside the learned ones, ``--caches`` what well-known cache policies would find
of the first columns that are cut (minutes, without training). ``--widths`` adds narrow rows, and as
many more of them as take the bytes of a quarter of the full ones (of the artifact: float32 and an
id of 8 bytes a row).
``--quick``: MovieLens 100K, one seed.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import torch
from compare_rows.caches import compared
from compare_rows.contenders import CONTENDERS, FULL, OPTIONS, Contender
from compare_rows.narrow import WIDTHS
from compare_rows.streams import LOGS, read
from compare_rows.study import SEARCH_SEED, Cell, study
from record import Figure, finish, parser

SHARES = (0.2, 0.05)
SEEDS: tuple[int, ...] = (1, 2, 3)
PROPORTIONAL = "adaptive, proportional"
"""Learned half-lives in tables of the same rows as those of fixed ones."""
Cells = dict[tuple[str, float, str], Cell]


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    seeds = SEEDS[:1] if options.quick else SEEDS
    names = options.logs.split(",") if options.logs else [log.name for log in LOGS]
    names = ["ml-100k"] if options.quick else names
    found: Cells = {}
    caches = []
    for log in LOGS:
        if log.name not in names:
            continue
        stream = read(log, options.work / "data")
        for share in SHARES:
            if options.caches:
                caches += compared(stream, share, say)
            for contender in chosen(options):
                found[log.name, share, contender.name] = study(
                    stream, contender, share, seeds, options.work / "runs", say
                )
        for contender in WIDTHS if options.widths else ():
            found[log.name, contender.share, contender.name] = study(
                stream, contender, contender.share, seeds, options.work / "runs", say
            )
    finish(
        figures(found),
        options.json,
        seeds=list(seeds),
        search_seed=SEARCH_SEED,
        logs=[log.__dict__ for log in LOGS if log.name in names],
        caches=caches,
        cells=[
            {
                "log": log,
                "share": share,
                "contender": name,
                "factor": cell.factor,
                "runs": [outcome.__dict__ for outcome in cell.outcomes],
            }
            for (log, share, name), cell in found.items()
        ],
    )


def arguments():  # type: ignore[no-untyped-def]
    own = parser("Rows that follow the stream beside fixed ones, hashed ones and all of them.")
    own.add_argument("--work", type=Path, default=Path("runs/rows"), help="where runs are kept")
    own.add_argument("--logs", default="", help="these logs alone, by commas")
    own.add_argument("--contenders", default="", help="these alone, by semicolons")
    own.add_argument("--options", action="store_true", help="other settings of adaptive, too")
    own.add_argument("--caches", action="store_true", help="cache policies' coverage, too")
    own.add_argument("--widths", action="store_true", help="narrow rows, too")
    return own.parse_args()


def chosen(options) -> list[Contender]:  # type: ignore[no-untyped-def]
    every = [*CONTENDERS, *(OPTIONS if options.options else ())]
    wanted = options.contenders.split(";") if options.contenders else [c.name for c in every]
    return [contender for contender in every if contender.name in wanted]


def say(line: str) -> None:
    print(line, flush=True)


def figures(found: Cells) -> list[Figure]:
    """What the adaptive rows promise; NE in % of the other's."""
    made: list[Figure] = []
    for log, share in dict.fromkeys((log, share) for log, share, _ in found):
        cells = {name: found[log, share, name] for *key, name in found if key == [log, share]}
        if "adaptive" not in cells:
            continue
        ours = cells["adaptive"]
        for name in ("fixed", "modulo hashing", "compositional"):
            if name in cells:
                gain = 100 * (cells[name].ne / ours.ne - 1)
                note = f"seeds +- {100 * spread(ours, cells[name]):.2f}"
                made.append(
                    Figure(
                        f"{log}, {share:.0%}: NE of {name} above adaptive",
                        gain,
                        "%",
                        "> 0",
                        gain > 0,
                        note,
                    )
                )
        if share == SHARES[0] and {FULL, "fixed"} <= cells.keys():
            full, fixed = cells[FULL].ne, cells["fixed"].ne
            if full < fixed:  # else fixed rows leave no gap
                closed = (fixed - ours.ne) / (fixed - full)
                made.append(
                    Figure(
                        f"{log}, {share:.0%}: share of the gap from fixed to full that is closed",
                        closed,
                        "share",
                        ">= 0.5",
                        closed >= 0.5,
                    )
                )
        if log == "flights" and FULL in cells:
            loss = 100 * (ours.ne / cells[FULL].ne - 1)
            made.append(
                Figure(f"{log}, {share:.0%}: NE above full", loss, "%", "<= 0", loss <= 0)
                if share == SHARES[0]
                else Figure(f"{log}, {share:.0%}: NE above full", loss, "%")
            )
        fixed_lives = [c.ne for name, c in cells.items() if name.startswith("half-life")]
        if fixed_lives and PROPORTIONAL in cells:
            learned = cells[PROPORTIONAL].ne
            best, typical = min(fixed_lives), statistics.median(fixed_lives)
            made += [
                Figure(f"{log}, {share:.0%}: {what} above learned", 100 * (ne / learned - 1), "%")
                for what, ne in (
                    ("best fixed half-life", best),
                    ("median fixed half-life", typical),
                    ("worst fixed half-life", max(fixed_lives)),
                )
            ]
    return made


def spread(ours: Cell, other: Cell) -> float:
    """Half the range of the seeds' paired differences, relative."""
    paired = [b.ne / a.ne - 1 for a, b in zip(ours.outcomes, other.outcomes, strict=True)]
    return (max(paired) - min(paired)) / 2


if __name__ == "__main__":
    main()
