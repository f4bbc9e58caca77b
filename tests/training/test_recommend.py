"""A recommender of implicit feedback from a configuration to a folder of weights and code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stream_prune.errors import ConfigError, RunError
from stream_prune.training.fit_ranking import FitConfig
from stream_prune.training.recommend import load, parts, recommend
from stream_prune.training.recommender_config import RECOMMENDERS, RecommenderConfig

SIZES: dict[str, dict[str, Any]] = {
    "lightgcn": {"dim": 8, "layers": 2},
    "multvae": {"hidden": [16], "latent": 4},
    "neumf": {"dim": 8, "hidden": [8]},
    "two_tower": {"dim": 8, "hidden": [8], "out": 8},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty users of two tastes, in LightGCN's format."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("pairs")
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for user in range(40):
        liked = rng.permutation(15)[:12] + 15 * (user % 2)
        for name, items in (("train", liked[:10]), ("test", liked[10:])):
            lines[name].append(" ".join(map(str, [user, *items])))
    for name, text in lines.items():
        (path / f"{name}.txt").write_text("\n".join(text) + "\n")
    return path


def config(folder: Path, run: Path, model: str, **others: Any) -> RecommenderConfig:
    values = {"lr": 0.01, "batch": 16, "epochs": 12, "k": 10, "evaluate_every": 3}
    return RecommenderConfig.from_dict(
        {
            "run": str(run),
            "folder": str(folder),
            "dataset": "gowalla",
            "model": model,
            "parameters": SIZES[model],
            **values,
            **others,
        }
    )


def test_every_model_has_sizes_to_be_tested_with() -> None:
    assert SIZES.keys() == RECOMMENDERS.keys()


@pytest.mark.parametrize("model", SIZES)
def test_a_model_learns_and_what_is_written_scores_as_it_did(
    model: str, folder: Path, tmp_path: Path
) -> None:
    settings = config(folder, tmp_path / "run", model)
    figures = recommend(settings)
    assert figures["recall@10"] > 0.5  # at random about a third
    told = json.loads((tmp_path / "run" / "model.json").read_text())
    assert told["figures"] == figures
    assert RecommenderConfig.from_dict(told["config"]) == settings
    assert "no split into tables and head" in told["note"]
    assert f"class {told['class']}(" in (tmp_path / "run" / "model.py").read_text()
    loaded, found = load(tmp_path / "run"), parts(settings)
    assert not loaded.training
    from stream_prune.evaluation.ranking import rank

    batches = settings.batches(found)
    with torch.no_grad():
        again = rank(lambda u: batches.scores(loaded, u), found.test, found.known, k=10)
    assert again.recall == pytest.approx(figures["recall@10"])


def test_the_published_test_part_is_the_test_part(folder: Path, tmp_path: Path) -> None:
    found = parts(config(folder, tmp_path, "neumf"))
    assert (len(found.train), len(found.validation), len(found.test)) == (360, 40, 80)
    lines = (folder / "test.txt").read_text().splitlines()
    wanted = {(int(line.split()[0]), int(i)) for line in lines for i in line.split()[1:]}
    test = found.test
    assert set(zip(test.users.tolist(), test.items.tolist(), strict=True)) == wanted


def test_a_sparse_model_is_written_with_its_zeros(folder: Path, tmp_path: Path) -> None:
    elements = {"policy": "dsl", "density": 0.3, "parameters": {"anneal_steps": 100, "every": 10}}
    figures = recommend(config(folder, tmp_path, "multvae", elements=elements))
    assert figures["weights_not_zero"] <= 0.31 * figures["weights"]
    weights = load_file(tmp_path / "model.safetensors")
    matrices = [each for each in weights.values() if each.dim() > 1]
    assert sum(int(each.count_nonzero()) for each in matrices) == figures["weights_not_zero"]


def test_equal_seeds_give_equal_weights(folder: Path, tmp_path: Path) -> None:
    runs = [recommend(config(folder, tmp_path / name, "neumf", epochs=2)) for name in "ab"]
    assert runs[0] == runs[1]
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "word2vec", "parameters": {}}, "model = 'word2vec': must be one of lightgcn"),
        ({"parameters": {"rank": 3}}, "parameters.rank: neumf has no such setting; it has dim"),
        ({"parameters": {"dim": 0}}, "parameters.dim = 0: must be 1 or more"),
        ({"dataset": "flights"}, "dataset = 'flights': must be one of ml-100k, gowalla"),
        ({"elements": {"density": 2}}, "elements.density = 2.0: must be in"),
        ({"epochs": 0}, "epochs = 0: must be"),
        ({"epoch": 3}, "epoch"),
    ],
)
def test_what_cannot_be_is_told_with_its_key(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    values = {"run": "r", "folder": "d", "model": "neumf"} | changes
    with pytest.raises(ConfigError) as caught:
        RecommenderConfig.from_dict(values)
    assert str(caught.value).startswith(message)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no recommender's folder"):
        load(tmp_path)
    (tmp_path / "model.json").write_text('{"model": "neumf", "sizes": {"users": 3}}')
    with pytest.raises(RunError, match="is no recommender's folder"):
        load(tmp_path)


def test_the_epochs_of_a_configuration_are_those_of_the_fit(folder: Path, tmp_path: Path) -> None:
    assert config(folder, tmp_path, "neumf").fit() == FitConfig(12, 3, 10, 0)
