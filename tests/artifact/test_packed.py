"""A model of single weights is small at rest, and whole again, to the bit, where it is loaded."""

import json
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from small_model import SPEC, SmallModel, raw_rows

from stream_prune.artifact import ModelCard, Scorer
from stream_prune.artifact.pack import pack_matrices
from stream_prune.artifact.packed import PARTS, PackedCard, part_name, read_packed
from stream_prune.errors import RunError
from stream_prune.models.dlrm import DLRMHead, DLRMHeadConfig
from stream_prune.sparsity.elements.controller import ElementController
from stream_prune.sparsity.elements.storage import pack, unpack
from stream_prune.sparsity.policies.dsl import DSL
from stream_prune.sparsity.policies.rigl import RigL
from stream_prune.sparsity.policies.set_evolution import SET

POLICIES = {
    "dsl": DSL(anneal_steps=6, every=2),
    "rigl": RigL(anneal_steps=6, every=2),
    "set_evolution": SET(every=2),
}
DENSITY = 0.2


def masked(policy):
    """A model wide enough that its head is most of its bytes, trained under masks."""
    model = SmallModel.build(seed=2)
    torch.manual_seed(2)
    shape = DLRMHeadConfig(len(SPEC.dense), len(SPEC.categorical), 8, bottom=(64,), top=(256, 256))
    model.head = DLRMHead(shape)
    model.optimizer = torch.optim.Adam(model.head.parameters(), lr=1e-2)
    dense, ids, offsets = model.arrays(raw_rows(16))
    with torch.no_grad():
        example = (dense, model.tables(ids, offsets))
    controller = ElementController(
        model.head, model.optimizer, policy=POLICIES[policy], density=DENSITY, example=example
    )
    for step in range(5):
        controller.step(model.learn(raw_rows(64, seed=step), seed=step), rows=64)
    return model, controller


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """Model, controller and artifact."""
    model, controller = masked("rigl")
    return model, controller, model.write(tmp_path_factory.mktemp("sparse") / "m")


@pytest.fixture(scope="module")
def whole(sparse, tmp_path_factory):
    """The artifact of the same model with every weight stored, as a dense one's are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream_prune.artifact.pack.HEADER_BYTES", 1 << 40)
        return sparse[0].write(tmp_path_factory.mktemp("whole") / "m")


def size(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


def test_a_fifth_of_the_weights_takes_less_than_a_third_of_the_bytes(sparse, whole):
    model, controller, small = sparse
    assert controller.density == pytest.approx(DENSITY, abs=0.01)
    heads = [(folder / "head.safetensors").stat().st_size for folder in (small, whole)]
    # A bit and a fifth of four bytes for each weight: 0.23 of the dense; and biases.
    assert heads[0] < 0.27 * heads[1]
    assert size(small) < 0.33 * size(whole)
    raw = raw_rows(100, seed=77)
    np.testing.assert_allclose(Scorer.load(small).score(raw), model.score(raw), atol=2e-6)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_of_elements_leaves_a_head_that_packs(policy):
    model, controller = masked(policy)
    state = model.head.state_dict()
    packed = pack_matrices(state)
    for name, parts in packed.items():
        assert torch.equal(unpack(parts), state[name])
        assert len(parts["values"]) <= int(controller.mask(name).sum())
    taken = sum(
        sum(part.nbytes for part in packed[name].values()) if name in packed else value.nbytes
        for name, value in state.items()
    )
    assert taken < 0.27 * sum(value.nbytes for value in state.values())


def test_packed_weights_are_the_live_ones_to_the_bit(sparse):
    model, controller, folder = sparse
    card, state = ModelCard.read(folder), model.head.state_dict()
    packed = read_packed(folder, card.packed)
    assert "top.2.weight" in packed
    for name, weights in packed.items():
        assert weights.tobytes() == state[name].numpy().tobytes()
        assert not weights[~controller.mask(name).numpy()].any()
    stored = load_file(folder / "head.safetensors")
    others = set(state) - set(packed)
    assert all(stored[name].tobytes() == state[name].numpy().tobytes() for name in others)
    assert not set(packed) & set(stored)


def test_scores_do_not_depend_on_how_weights_are_stored(sparse, whole):
    assert ModelCard.read(whole).packed == ()
    raw = raw_rows(300, seed=5)
    assert np.array_equal(Scorer.load(whole).logits(raw), Scorer.load(sparse[2]).logits(raw))


def test_the_card_says_what_is_packed_and_what_it_saves(sparse, whole):
    model, controller, folder = sparse
    packed = {card.name: card for card in ModelCard.read(folder).packed}
    top = packed["top.2.weight"]
    assert top.shape == [256, 256]
    assert top.kept == int(model.head.top[2].weight.count_nonzero())
    assert top.kept <= int(controller.mask("top.2.weight").sum())  # a grown one begins at zero
    assert top.bytes == 256 * 256 // 8 + 4 * top.kept + 16
    before, after = ((f / "head.safetensors").stat().st_size for f in (whole, folder))
    saved = sum(card.bytes_saved for card in packed.values())
    assert 0 <= saved - (before - after) < 512 * len(packed)  # names and places in the header


def test_a_dense_model_is_stored_as_it_is(written):
    assert ModelCard.read(written).packed == ()


def test_a_packed_model_scores_without_torch(sparse):
    program = f"""
        import sys
        for name in ("torch", "mlflow"):
            sys.modules[name] = None
        from stream_prune.artifact import Scorer
        assert Scorer.load({str(sparse[2])!r}).check_example() < 1e-6
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_runtime_without_the_weights_refuses_the_graph(sparse):
    with pytest.raises(Exception, match=r"does not exist.*head\.safetensors\|"):
        onnxruntime.InferenceSession(sparse[2] / "head.onnx")


FLOATS = st.one_of(
    st.just(0.0), st.sampled_from([-0.0, 1e-42, np.nan, -np.inf]), st.floats(width=32)
)


@given(data=st.data(), rows=st.integers(0, 7), columns=st.integers(1, 9))
def test_any_matrix_comes_back_to_the_bit(tmp_path_factory, data, rows, columns):
    count = rows * columns
    values = data.draw(st.lists(FLOATS, min_size=count, max_size=count))
    tensor = torch.tensor(values, dtype=torch.float32).reshape(rows, columns)
    parts = pack(tensor, tensor.view(torch.int32) != 0)
    assert tuple(parts) == PARTS
    folder = tmp_path_factory.mktemp("packed")
    save_file({part_name("w", n): p.numpy() for n, p in parts.items()}, folder / "head.safetensors")
    card = PackedCard("w", ["w"], [rows, columns], len(parts["values"]), 0, 0)
    assert read_packed(folder, [card])["w"].tobytes() == tensor.numpy().tobytes()


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("bitmask", lambda bits: bits ^ np.uint8(1)),
        ("bitmask", lambda bits: bits[:-1]),
        ("values", lambda values: values[:-1]),
        ("values", lambda values: values.astype(np.float64)),
        ("shape", lambda shape: shape[::-1].copy() + 1),
        ("shape", None),
    ],
)
def test_parts_that_do_not_belong_together_are_named(tmp_path, part, change):
    weights = torch.eye(9)[:8]
    tensors = {
        part_name("w", name): value.numpy() for name, value in pack(weights, weights != 0).items()
    }
    card = PackedCard("w", ["w"], [8, 9], 8, 0, 0)
    name = part_name("w", part)
    changed = {} if change is None else {name: change(tensors.pop(name))}
    if change is None:
        del tensors[name]
    save_file(tensors | changed, tmp_path / "head.safetensors")
    reason = r"cannot be read" if change is None else r"'w': (there is no packed|its bits)"
    with pytest.raises(RunError, match=rf"head\.safetensors: {reason}"):
        read_packed(tmp_path, [card])


def test_a_card_at_odds_with_the_file_is_named(sparse):
    _, _, folder = sparse
    cards = ModelCard.read(folder).packed
    with pytest.raises(RunError, match="there is no packed"):
        read_packed(folder, [replace(cards[0], kept=cards[0].kept + 1)])
    values = json.loads((folder / "model.json").read_text())
    assert [entry["name"] for entry in values["packed"]] == [card.name for card in cards]
