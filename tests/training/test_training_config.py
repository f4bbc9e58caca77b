import json
from pathlib import Path

import pytest

from stream_prune.errors import ConfigError
from stream_prune.training.config import TrainingConfig
from stream_prune.training.dataclass_reader import difference

PLACES = {"run": "runs/a", "log": "logs/a"}


def test_a_run_needs_a_folder_and_a_log_and_nothing_else():
    config = TrainingConfig.from_dict(PLACES)
    assert config.run == Path("runs/a")
    assert config.sparsity is None


def test_the_settings_of_a_model_reach_its_head():
    values = {"name": "dcn", "dim": 4, "top": [8], "parameters": {"rank": 3, "layers": 2}}
    config = TrainingConfig.from_dict(PLACES | {"model": values})
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    head = config.model.build_head(dense=2, tables=5)
    assert [tuple(layer.mix[0].weight.shape) for layer in head.cross] == [(3, 22)] * 2
    assert tuple(head.deep[0].weight.shape) == (8, 22)


def test_a_run_that_was_started_before_models_had_settings_is_resumed():
    before = TrainingConfig.from_dict(PLACES).to_dict()
    assert before["model"].pop("parameters") is None
    assert difference(before, TrainingConfig.from_dict(PLACES).to_dict()) is None


def test_a_configuration_survives_json():
    values = PLACES | {
        "model": {"dim": 8, "bottom": [16], "top": [32, 16]},
        "tables": {"capacity": {"user": 100}},
        "sparsity": {"budget": {"macs": 0.2, "rows": 0.1}, "parameters": {"warmup_rows": 7}},
        "drift": {"parameters": {"h": 6.0}},
    }
    config = TrainingConfig.from_dict(values)
    assert config.model.top == (32, 16)
    assert config.sparsity is not None
    assert config.sparsity.budget.rows == 0.1
    assert config.sparsity.build_policy().warmup_rows == 7
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seeds": 1}, r"^seeds: unknown key; known are run, log, seed"),
        ({"model": {"width": 1}}, r"^model\.width: unknown key; known are name, dim, bottom, top"),
        ({"model": {"dim": "16"}}, r"^model\.dim = '16': must be a whole number"),
        ({"model": {"dim": True}}, r"^model\.dim = True: must be a whole number"),
        ({"model": {"top": 64}}, r"^model\.top = 64: must be a list"),
        ({"model": {"top": [64, 0]}}, r"^model\.top\[1\] = 0: must be 1 or more"),
        ({"model": 5}, r"^model = 5: must be a mapping"),
        ({"model": {"name": "dnc"}}, r"^model\.name = 'dnc': must be one of dcn, deepfm, dhen, "),
        (
            {"model": {"name": "dcn", "bottom": [8]}},
            r"^model\.bottom = \[8\]: dcn has no bottom MLP: leave it out or give \[\]",
        ),
        (
            {"model": {"name": "dcn", "parameters": {"ranks": 8}}},
            r"^model\.parameters\.ranks: dcn has no such setting; it has layers, rank, structure",
        ),
        (
            {"model": {"name": "dcn", "parameters": {"rank": 0}}},
            r"^model\.parameters\.rank = 0: must be 1 or more",
        ),
        (
            {"model": {"name": "dhen", "parameters": {"ensemble": "mean"}}},
            r"^model\.parameters\.ensemble = 'mean': must be one of concat, sum, weighted_sum",
        ),
        (
            {"model": {"name": "dhen", "parameters": {"interactions": ["fm"]}}},
            r"^model\.parameters\.interactions = \('fm',\): must be one or more of dlrm, ",
        ),
        ({"model": {"name": "deepfm", "dim": 1}}, r"^model\.dim = 1: must be 2 or more"),
        (
            {"model": {"name": "deepfm", "parameters": {"rank": 4}}},
            r"^model\.parameters\.rank: deepfm has no such setting; it has none",
        ),
        ({"optimizer": {"lr": -1.0}}, r"^optimizer\.lr = -1.0: must be greater than 0"),
        ({"optimizer": {"name": "sgd"}}, r"^optimizer\.name = 'sgd': must be one of adam, adagrad"),
        ({"tables": {"capacity": {"user": -1}}}, r"^tables\.capacity\.user = -1: must be 0"),
        (
            {"tables": {"capacity": {"user": 0.5}}},
            r"^tables\.capacity\.user = 0.5: must be",
        ),
        ({"sparsity": {}}, r"^sparsity\.budget: is missing"),
        (
            {"sparsity": {"budget": {"macs": 1.4}}},
            r"^sparsity\.budget\.macs = 1.4: must be in \(0, 1\]",
        ),
        (
            {"sparsity": {"budget": {"macs": 0.2}, "policy": "none"}},
            r"^sparsity\.policy = 'none': must be one of ads, .*amgp, dsl_units, ",
        ),
        (
            {"sparsity": {"budget": {"macs": 0.2}, "parameters": {"regrow_density": 2}}},
            r"^sparsity\.parameters\.regrow_density = 2.0: must be in \(0, 1\]",
        ),
        (
            {
                "sparsity": {
                    "budget": {"macs": 0.2},
                    "policy": "ads_shadow",
                    "parameters": {"every_rows": 0},
                }
            },
            r"^sparsity\.parameters\.every_rows = 0: must be 1 or more, or null",
        ),
        (
            {"sparsity": {"budget": {"macs": 0.2}, "parameters": {"regrow": 2}}},
            r"^sparsity\.parameters\.regrow: unknown key; known are warmup_rows",
        ),
        (
            {"sparsity": {"budget": {"macs": 0.5}, "policy": "amgp"}},
            r"^sparsity\.parameters\.total_rows: is missing",
        ),
        (
            {
                "sparsity": {
                    "budget": {"macs": 0.5},
                    "policy": "amgp",
                    "parameters": {"total_rows": 60_000},
                }
            },
            r"^sparsity\.parameters\.total_rows = 60000: 4 cycles of it have parts of 1250 rows",
        ),
        (
            {
                "sparsity": {
                    "budget": {"macs": 0.5},
                    "policy": "dsl_units",
                    "parameters": {"anneal_rows": 9, "every_rows": 0},
                }
            },
            r"^sparsity\.parameters\.every_rows = 0: must be at least 1",
        ),
        (
            {"sparsity": {"budget": {"macs": 1}, "policy": "rate_on_drift"}},
            r"^sparsity\.policy = 'rate_on_drift': acts on alarms: add `drift`",
        ),
        (
            {"drift": {"parameters": {"m": 1}}},
            r"^drift\.parameters\.m: unknown key; known are k",
        ),
        ({"drift": {"parameters": {"h": -1}}}, r"^drift\.parameters: .*h = -1 must be positive"),
        ({"drift": {}}, r"^drift: there is no sparsity policy"),
        ({"elements": {}}, r"^elements\.density: is missing"),
        ({"elements": {"density": 1.4}}, r"^elements\.density = 1.4: must be in \(0, 1\]"),
        (
            {"elements": {"density": 0.2, "policy": "ads"}},
            r"^elements\.policy = 'ads': must be one of dsl, rigl, set_evolution",
        ),
        (
            {"elements": {"density": 0.2, "policy": "set_evolution", "parameters": {"every": 0}}},
            r"^elements\.parameters\.every = 0: must be at least 1",
        ),
        (
            {
                "elements": {
                    "density": 0.2,
                    "policy": "dsl",
                    "parameters": {"anneal_steps": 9, "densities": "flat"},
                }
            },
            r"^elements\.parameters\.densities = 'flat': must be one of uniform, erk",
        ),
        (
            {"elements": {"density": 0.2}},
            r"^elements\.parameters\.anneal_steps: is missing",
        ),
        (
            {
                "elements": {"density": 0.2, "policy": "set_evolution"},
                "sparsity": {"budget": {"macs": 0.2}},
            },
            r"^elements: go without `sparsity`",
        ),
        ({"checkpoint": {"keep": 0}}, r"^checkpoint\.keep = 0: must be 1 or more"),
        ({"evaluation": {"every_windows": 0}}, r"^evaluation\.every_windows = 0: must be 1"),
        ({"device": "tpu"}, r"^device = 'tpu': must be one of auto, cpu, cuda"),
    ],
)
def test_a_wrong_value_is_named_with_its_path_and_what_is_allowed(values, message):
    with pytest.raises(ConfigError, match=message):
        TrainingConfig.from_dict(PLACES | values)


def test_a_missing_place_is_named():
    with pytest.raises(ConfigError, match=r"^log: is missing"):
        TrainingConfig.from_dict({"run": "r"})


def test_the_first_difference_of_two_configurations_is_found_with_its_path():
    assert difference({"a": {"b": [1]}}, {"a": {"b": [1]}}) is None
    assert difference({"a": {"b": 1}}, {"a": {"b": 2}}) == ("a.b", 1, 2)
    assert difference({"a": 1}, {"a": 1, "c": 3}) == ("c", None, 3)
    assert difference({"a": None}, {"a": {"b": 2}}) == ("a", None, {"b": 2})
