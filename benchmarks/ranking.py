"""NeuMF, LightGCN and MultVAE on ml-100k: dense, and sparse from the start by DSL.

    python benchmarks/ranking.py [--quick] [--json FILE] [--work FOLDER] [--models A,B] [--alone]

All ratings are pairs, each user's split at random into 80 % training, 10 % validation and 10 % test
pairs (RecBole's default); every item that is not known of a user is ranked. The best epoch is the
one with the highest NDCG@20 on validation. The masks of ``dsl`` hold the model's matrices at 50,
80, 90 and 95 % zeros from the first step: the same share of every matrix, as in the paper, or
(``erk``) less of the small ones. Each has its own learning rate, chosen on validation with the
first seed, since a sparse model wants another one than a dense one. A comparison is of the same
seed, and the interval is of the users' paired differences, averaged over the seeds.

The papers' steps between two rewirings (100 to 3000) are for data fifty times as large; here there
are 40 rewirings in a run. RecBole's own dense models are trained on the same split, at the same
sizes, rate and epochs, in an environment of their own (``peers``); not so with ``--alone``.

Finished runs, RecBole's too, are kept in the work folder and not made again.
``--quick``: one seed, three variants of DSL, one rate, a few epochs, no RecBole:
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
from peers import RECBOLE, interpreter
from policies import chosen
from record import Figure, finish, parser

from stream_prune.datasets import movielens_100k
from stream_prune.training.interaction_split import split

SEEDS = (0, 1, 2)


def main() -> None:
    options = parser("NeuMF, LightGCN and MultVAE, dense and by DSL, on ml-100k.")
    options.add_argument("--work", type=Path, default=Path("runs/ranking"), metavar="FOLDER")
    options.add_argument("--models", default="", metavar="A,B", help="only these models")
    options.add_argument("--alone", action="store_true", help="without RecBole's models")
    given = options.parse_args()
    torch.set_num_threads(1)
    parts = split(movielens_100k.implicit(given.work))
    seeds, variants = (SEEDS[:1], QUICK) if given.quick else (SEEDS, VARIANTS)
    python = None if given.quick or given.alone else interpreter(RECBOLE)
    figures, runs = list[Figure](), list[dict[str, object]]()
    for name, contender in chosen("--models", given.models, CONTENDERS).items():
        if given.quick:
            contender = replace(contender, epochs=contender.epochs // 8, rates=contender.rates[1:2])
        outcomes = [
            outcome
            for variant in variants
            for outcome in at_best_rate(
                name, contender, parts, variant, seeds, given.work / "finished"
            )
        ]
        figures += compared(name, outcomes)
        if python is not None:
            dense = [outcome for outcome in outcomes if outcome.variant == DENSE]
            figures += peer_figures(
                python, name, contender.epochs, parts, dense, given.work / "finished"
            )
        runs += [{"model": name, **flat(outcome)} for outcome in outcomes]
    finish(figures, given.json, seeds=list(seeds), quick=given.quick, runs=runs)


if __name__ == "__main__":
    main()
