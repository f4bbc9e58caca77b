"""Does what ``stream-prune advise`` proposes cost what it says, on events that it did not see?

    python benchmarks/advice.py [--quick] [--json FILE] [--work FOLDER]

``advise`` is run on the first half of ml-100k as a user would run it, with a tolerance of 1 % and
two seeds. What it proposes is then replayed beside the full model over the whole log with two other
seeds, and judged on the second half alone: the loss of NE, with its interval, against the one
expected. ``--quick``: the first 30,000 events, halved.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml
from record import Figure, finish, parser

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "ml-100k.yaml"
PROGRAM = Path(sys.executable).with_name("stream-prune")
TOLERANCE = 1.0
WARMUP = 10_000
NUMBER = r"([+-][\d.]+) %"
INTERVAL = re.compile(rf"NE {NUMBER} \({NUMBER} to {NUMBER}\)")


def main() -> int:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--work", type=Path, default=Path("runs/advice"), metavar="FOLDER")
    given = options.parse_args()
    rows = 30_000 if given.quick else 100_000
    folder = given.work / ("quick" if given.quick else "full")
    folder.mkdir(parents=True, exist_ok=True)
    common = {"source.folder": str(given.work / "data"), "evaluation.warmup_rows": WARMUP}
    common["sparsity.parameters.warmup_rows"] = WARMUP
    said = called(
        "advise", str(CONFIG), "--tolerance", f"{TOLERANCE}%", "--rows", str(rows // 2),
        "--folder", str(folder / "advise"), *settings(common),
    )  # fmt: skip
    told = {line.split(":")[0]: line for line in said.splitlines() if ": " in line}
    figures = [
        Figure(
            f"{part}: proposed share", share(told[part]), "%", "", None, told[part].split(": ")[-1]
        )
        for part in ("MACs", "embedding rows", "embedding dimension")
    ]
    expected = interval(told["together"])
    figures += three("expected", expected)
    if "to use it" not in told:
        finish(figures, given.json, rows=rows, tolerance=TOLERANCE)
        return 0
    same = interval(told["replayed"])
    figures += three("replayed on the same events", same)
    fresh = judged(folder, common, proposal(told["to use it"]), rows)
    figures += three("replayed on events that advise did not see", fresh)
    figures += [
        Figure("the expected interval meets that of the same events", float(meets(expected, same)),
               "", "1", meets(expected, same)),
        Figure("the expected interval meets that of fresh events", float(meets(expected, fresh)),
               "", "1", meets(expected, fresh)),
        Figure("loss on fresh events", fresh[0], "%", f"<= {TOLERANCE:g}", fresh[0] <= TOLERANCE),
    ]  # fmt: skip
    finish(figures, given.json, rows=rows, tolerance=TOLERANCE, proposal=told["to use it"])
    return 0


def judged(
    folder: Path, common: dict[str, object], smaller: dict[str, object], rows: int
) -> tuple[float, float, float]:
    """Loss of NE in percent, and its interval, on the second half of the events."""
    grid = {
        "base": str(CONFIG),
        "folder": str(folder / "fresh"),
        # What was advised upon is a warm-up here: both learn it, neither is judged by it.
        "set": {**common, "stop_rows": rows, "evaluation.warmup_rows": rows // 2, "registry": None},
        "policies": {"full": {"sparsity": None, "drift": None}, "proposal": smaller},
        "seeds": [11, 12],
    }
    path = folder / "fresh.yaml"
    path.write_text(yaml.safe_dump(grid), encoding="utf-8")
    called("compare", str(path))
    lines = (folder / "fresh" / "table.csv").read_text(encoding="utf-8").splitlines()
    names, last = lines[0].split(","), lines[2].split(",")
    found = dict(zip(names, last, strict=True))
    value, low, high = (100 * float(found[name]) for name in ("difference", "low", "high"))
    return value, low, high


def called(*arguments: str) -> str:
    """What a command said on its standard output."""
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)
    print(done.stdout, flush=True)
    if done.returncode:
        sys.exit(f"stream-prune {arguments[0]} failed: {done.stderr}")
    return done.stdout


def settings(values: dict[str, object]) -> list[str]:
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def proposal(line: str) -> dict[str, object]:
    """The changes of ``to use it: --set 'KEY=VALUE' ...``."""
    pairs = (found.split("=", 1) for found in re.findall(r"--set '([^']+)'", line))
    return {key: yaml.safe_load(value) for key, value in pairs}


def interval(line: str) -> tuple[float, float, float]:
    found = INTERVAL.search(line)
    assert found, line
    value, low, high = (float(each) for each in found.groups())
    return value, low, high


def share(line: str) -> float:
    found = re.search(r"([\d.]+)% of the full size", line)
    assert found, line
    return float(found[1])


def three(name: str, values: tuple[float, float, float]) -> list[Figure]:
    ends = zip(("loss of NE", "from", "to"), values, strict=True)
    return [Figure(f"{name}: {end}", value, "%") for end, value in ends]


def meets(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    """Two intervals have a loss in common."""
    return one[1] <= other[2] and other[1] <= one[2]


if __name__ == "__main__":
    sys.exit(main())
