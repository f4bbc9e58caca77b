"""A recommender is published as weights and code, and says that it is no more than that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stream_prune.cli.main import run
from stream_prune.errors import RunError
from stream_prune.registry.client import connect
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.pull import pull
from stream_prune.registry.recommender import KIND_TAG, NOTE, digest_of
from stream_prune.training.recommend import load, recommend
from stream_prune.training.recommender_config import RecommenderConfig

SIZES: dict[str, dict[str, Any]] = {
    "lightgcn": {"dim": 8, "layers": 2},
    "multvae": {"hidden": [16], "latent": 4},
    "neumf": {"dim": 8, "hidden": [8]},
    "two_tower": {"dim": 8, "hidden": [8], "out": 8},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("pairs")
    for name, count in (("train", 12), ("test", 2)):
        lines = [" ".join(map(str, [u, *rng.permutation(20)[:count]])) for u in range(20)]
        if name == "test":  # nothing of the training part
            train = [set(line.split()[1:]) for line in (path / "train.txt").read_text().split("\n")]
            lines = [
                " ".join([str(u), *sorted({str(i) for i in range(20)} - train[u])[:count]])
                for u in range(20)
            ]
        (path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


def settings(folder: Path, where: Path, model: str, uri: str, **others: Any) -> RecommenderConfig:
    return RecommenderConfig.from_dict(
        {
            "run": str(where),
            "folder": str(folder),
            "dataset": "gowalla",
            "model": model,
            "parameters": SIZES[model],
            "epochs": 2,
            "k": 5,
            "batch": 16,
            "registry": {"tracking_uri": uri, "model": f"films-{model}"},
            **others,
        }
    )


@pytest.mark.parametrize("model", SIZES)
def test_what_mlflow_loads_scores_as_the_trained_model_does(
    model: str, folder: Path, tmp_path: Path, uri: str
) -> None:
    config = settings(folder, tmp_path / "run", model, uri)
    assert recommend(config)["published"] == "1"
    registry = config.registry
    assert registry is not None
    client = connect(registry)
    held = client.get_model_version_by_alias(registry.model, "champion")
    assert (held.description, held.tags[KIND_TAG]) == (NOTE, "recommender")
    assert client.get_run(held.run_id).data.metrics["recall_at_5"] >= 0

    import mlflow.pyfunc
    import pandas as pd

    place = client.get_model_version_download_uri(registry.model, "1")
    loaded = mlflow.pyfunc.load_model(place)
    trained: Any = load(tmp_path / "run")
    if model == "multvae":
        items = [[0, 3], [1, 2, 19]]
        rows = torch.zeros(2, 20)
        for row, given in enumerate(items):
            rows[row, given] = 1
        found, wanted = loaded.predict(pd.DataFrame({"items": items})), trained.scores(rows)
    else:
        users = [3, 0, 19]
        found = loaded.predict(pd.DataFrame({"user": users}))
        wanted = trained.scores(torch.tensor(users))
    np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_equal_files_are_registered_once_and_others_as_the_next_version(
    folder: Path, tmp_path: Path, uri: str
) -> None:
    registry = {"tracking_uri": uri, "model": "once"}
    made = [
        recommend(settings(folder, tmp_path / "run", "neumf", uri, registry=registry, seed=seed))
        for seed in (0, 0, 1)
    ]
    assert [each["published"] for each in made] == ["1", "1", "2"]
    champion = connect(RegistryConfig(uri, "once")).get_model_version_by_alias("once", "champion")
    assert champion.version == 2


def test_it_cannot_be_pulled_as_an_artifact_and_says_why(
    folder: Path, tmp_path: Path, uri: str
) -> None:
    registry = {"tracking_uri": uri, "model": "pulled"}
    recommend(settings(folder, tmp_path / "run", "neumf", uri, registry=registry))
    with pytest.raises(RunError, match=r"is a recommender: weights and code, without tables"):
        pull(RegistryConfig(uri, "pulled"), tmp_path / "models")


def test_a_changed_file_has_another_digest(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = digest_of(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest_of(tmp_path) != before


def test_the_command_says_what_was_published(
    folder: Path, tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "films.yaml"
    file.write_text(
        f"run: {tmp_path}/run\ndataset: gowalla\nfolder: {folder}\nmodel: neumf\nepochs: 1\n"
        f"k: 5\nparameters: {{dim: 4, hidden: [4]}}\n"
        f"registry: {{tracking_uri: '{uri}', model: told}}\n"
    )
    assert run(["recommend", str(file)]) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "told version 1 is champion: weights and code; no split into tables and head" in said
