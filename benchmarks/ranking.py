"""NeuMF, LightGCN and MultVAE on ml-100k: dense, and sparse from the start by DSL.

    python benchmarks/ranking.py [--quick] [--json FILE] [--data FOLDER] [--recbole PYTHON]

All ratings are pairs, each user's split at random into 80 % training, 10 % validation and 10 % test
pairs (RecBole's default); every item that is not known of a user is ranked. The best epoch is the
one with the highest NDCG@20 on validation. The masks of ``dsl`` hold the model's matrices at 50,
80, 90 and 95 % zeros from the first step: the same share of every matrix, as in the paper, or
(``erk``) less of the small ones. Each has its own learning rate, chosen on validation with the
first seed, since a sparse model wants another one than a dense one. A comparison is of the same
seed, and the interval is of the users' paired differences, averaged over the seeds.

The papers' steps between two rewirings (100 to 3000) are for data fifty times as large; here there
are 40 rewirings in a run. ``--recbole`` names the interpreter of an environment with RecBole 1.2.1:
its own dense models are then trained on the same split, at the same sizes, rate and epochs.

``--quick``: one seed, three variants of DSL, one rate, a few epochs:
nothing is learned to the end, so its figures say that it runs, not how good a model is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from compare_rankings.contenders import CONTENDERS, DENSE, QUICK, VARIANTS
from compare_rankings.figures import compared, flat
from compare_rankings.peer import peer_figures
from compare_rankings.runs import at_best_rate
from record import Figure, finish, parser

from stream_prune.datasets import movielens_100k
from stream_prune.training.interaction_split import split

SEEDS = (0, 1, 2)


def main() -> None:
    options = parser("NeuMF, LightGCN and MultVAE, dense and by DSL, on ml-100k.")
    options.add_argument("--data", type=Path, default=Path("runs/ml-100k"), metavar="FOLDER")
    options.add_argument("--recbole", type=Path, metavar="PYTHON", help="also run RecBole's models")
    given = options.parse_args()
    torch.set_num_threads(1)
    parts = split(movielens_100k.implicit(given.data))
    seeds, variants = (SEEDS[:1], QUICK) if given.quick else (SEEDS, VARIANTS)
    figures, runs = list[Figure](), list[dict[str, object]]()
    for name, contender in CONTENDERS.items():
        if given.quick:
            contender = replace(contender, epochs=contender.epochs // 8, rates=contender.rates[1:2])
        outcomes = [
            outcome
            for variant in variants
            for outcome in at_best_rate(name, contender, parts, variant, seeds)
        ]
        figures += compared(name, outcomes)
        if given.recbole is not None:
            dense = [outcome for outcome in outcomes if outcome.variant == DENSE]
            figures += peer_figures(given.recbole, name, contender.epochs, parts, dense)
        runs += [{"model": name, **flat(outcome)} for outcome in outcomes]
    finish(figures, given.json, seeds=list(seeds), quick=given.quick, runs=runs)


if __name__ == "__main__":
    main()
