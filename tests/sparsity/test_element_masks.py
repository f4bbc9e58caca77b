"""Masks: how many weights each tensor keeps, which ones, how they move, how they are stored."""

from __future__ import annotations

from math import ceil, floor, prod
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from stream_prune.errors import ConfigError, RunError
from stream_prune.sparsity.elements.bitmask import from_bits, to_bits
from stream_prune.sparsity.elements.densities import kept_weights
from stream_prune.sparsity.elements.pattern import draw, rewire
from stream_prune.sparsity.elements.select import largest
from stream_prune.sparsity.elements.storage import pack, unpack

SHAPE = st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple)
SHAPES = st.lists(SHAPE, min_size=1, max_size=5).map(
    lambda found: {f"layer{i}": shape for i, shape in enumerate(found)}
)


@st.composite
def masked(draws: st.DrawFn) -> tuple[Tensor, Tensor, torch.Generator]:
    """A tensor with few different values, so that there are ties, and its mask."""
    shape, seed = draws(SHAPE), draws(st.integers(0, 10_000))
    kept = draws(st.integers(1, prod(shape)))
    generator = torch.Generator().manual_seed(seed)
    mask = draw(shape, kept, generator)
    return torch.randint(-2, 3, shape, generator=generator).float() * mask, mask, generator


@settings(max_examples=200, deadline=None)
@given(shapes=SHAPES, density=st.floats(0.01, 1), spread=st.sampled_from(["uniform", "erk"]))
def test_the_budget_is_met_to_the_weight(
    shapes: dict[str, tuple[int, ...]], density: float, spread: str
) -> None:
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    total = floor(round(density * sum(sizes.values()), 6))
    if total < len(shapes):
        with pytest.raises(ConfigError, match="each needs at least one"):
            kept_weights(shapes, density, spread)
        return
    kept = kept_weights(shapes, density, spread)
    assert sum(kept.values()) == total
    assert list(kept) == list(shapes)
    assert all(1 <= kept[name] <= size for name, size in sizes.items())


@settings(max_examples=100, deadline=None)
@given(shapes=SHAPES, density=st.floats(0.05, 0.9))
def test_erk_gives_all_tensors_that_are_not_whole_the_same_multiple_of_their_claim(
    shapes: dict[str, tuple[int, ...]], density: float
) -> None:
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    if floor(round(density * sum(sizes.values()), 6)) < len(shapes):
        return
    kept = kept_weights(shapes, density, "erk")
    partial = {n: k for n, k in kept.items() if 1 < k < sizes[n] - 1}
    # Each is within a weight of e * sum(shape), and so are the bounds that it puts on e.
    lower = [(k - 1) / sum(shapes[n]) for n, k in partial.items()]
    upper = [(k + 1) / sum(shapes[n]) for n, k in partial.items()]
    if partial and not any(k == 1 for k in kept.values()):
        assert max(lower) <= min(upper) + 1e-9


def test_narrow_layers_keep_more_under_erk_and_the_same_under_uniform() -> None:
    shapes = {"wide": (512, 256), "narrow": (16, 64), "out": (1, 256)}
    erk = kept_weights(shapes, 0.05, "erk")
    share = {name: kept / prod(shapes[name]) for name, kept in erk.items()}
    assert share["wide"] < share["narrow"] < share["out"] == 1.0
    uniform = kept_weights(shapes, 0.05, "uniform")
    assert uniform == {"wide": 6553, "narrow": 51, "out": 13}


@pytest.mark.parametrize("density", [0.0, -0.1, 1.01])
def test_a_density_out_of_range_is_refused(density: float) -> None:
    with pytest.raises(ConfigError, match="density = "):
        kept_weights({"layer": (4, 4)}, density, "erk")


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.integers(-3, 3), min_size=1, max_size=60), data=st.data())
def test_the_largest_are_chosen_and_of_equal_ones_the_first(
    values: list[int], data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, len(values)))
    chosen = largest(torch.tensor(values, dtype=torch.float32), count)
    wanted = sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]
    assert chosen.nonzero().flatten().tolist() == sorted(wanted)


@settings(max_examples=100, deadline=None)
@given(shape=SHAPE, data=st.data())
def test_a_drawn_mask_is_exact_and_leaves_no_row_empty_if_it_can(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    kept = data.draw(st.integers(1, prod(shape)))
    mask = draw(shape, kept, torch.Generator().manual_seed(data.draw(st.integers(0, 99))))
    assert int(mask.sum()) == kept
    if len(shape) > 1 and kept >= shape[0]:
        assert bool(mask.reshape(shape[0], -1).any(dim=1).all())


@settings(max_examples=300, deadline=None)
@given(case=masked(), fraction=st.floats(0, 1))
def test_rewiring_keeps_the_count_drops_the_smallest_and_grows_the_largest(
    case: tuple[Tensor, Tensor, torch.Generator], fraction: float
) -> None:
    weight, mask, generator = case
    growth = torch.randint(0, 3, weight.shape, generator=generator).float()
    new, survivors = rewire(weight, mask, fraction, growth)
    kept = int(mask.sum())
    assert int(new.sum()) == kept
    assert not bool((survivors & ~mask).any())
    assert not bool((survivors & ~new).any())
    dropped, grown = mask & ~survivors, new & ~survivors
    assert int(dropped.sum()) == int(grown.sum()) <= ceil(fraction * kept)
    # Whoever survived is as large as any that were dropped, unless it is the last of its row.
    rows = (1, -1) if weight.dim() == 1 else (len(weight), -1)
    last = (weight.abs() * mask).view(rows)
    held = (last == last.amax(1, keepdim=True)).view_as(mask) & (weight.dim() > 1)
    if bool(dropped.any()):
        free = survivors & ~held
        assert not bool(free.any()) or weight[free].abs().min() >= weight[dropped].abs().max()
    # Whatever was grown scores as high as anything that is left out; of equal ones the first.
    out = ~new
    if bool(grown.any()) and bool(out.any()):
        least = growth[grown].min()
        assert least >= growth[out].max()
        level = (growth == least).flatten()
        last_grown = (grown.flatten() & level).nonzero()[-1]
        first_out = (out.flatten() & level).nonzero()[:1]
        assert not len(first_out) or bool(last_grown < first_out[0])


@settings(max_examples=200, deadline=None)
@given(case=masked(), fraction=st.floats(0, 1))
def test_no_row_loses_its_last_weight_and_the_largest_of_a_row_stays(
    case: tuple[Tensor, Tensor, torch.Generator], fraction: float
) -> None:
    weight, mask, _ = case
    if weight.dim() == 1:
        return
    _, survivors = rewire(weight, mask, fraction, torch.zeros_like(weight))
    rows = (len(weight), -1)
    before, after = mask.view(rows).any(dim=1), survivors.view(rows).any(dim=1)
    assert torch.equal(before, after)
    largest_before = (weight.abs() * mask).view(rows).amax(dim=1)
    assert torch.equal((weight.abs() * survivors).view(rows).amax(dim=1), largest_before)


def test_the_dropped_share_is_as_asked_where_rows_allow_it() -> None:
    weight = torch.arange(1.0, 101.0).view(2, 50)
    mask = torch.ones(2, 50, dtype=torch.bool)
    mask[:, 40:] = False
    new, survivors = rewire(weight * mask, mask, 0.25, torch.arange(100.0).view(2, 50))
    assert int(survivors.sum()) == 60
    assert (~survivors[0, :20]).all()  # the 20 smallest
    assert int((new & ~survivors)[:, 40:].sum()) == 20  # the largest growth is where none was


@settings(max_examples=150, deadline=None)
@given(case=masked())
def test_bits_and_packed_tensors_come_back_as_they_were(
    case: tuple[Tensor, Tensor, torch.Generator],
) -> None:
    weight, mask, _ = case
    bits = to_bits(mask)
    assert bits.nbytes == ceil(mask.numel() / 8)
    assert torch.equal(from_bits(bits, mask.shape), mask)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        tensor = weight.to(dtype)
        parts = pack(tensor, mask)
        assert parts["values"].dtype == dtype
        assert torch.equal(unpack(parts), tensor)


def test_a_packed_file_is_as_small_as_bits_and_kept_values(tmp_path: Path) -> None:
    shape, density = (256, 512), 0.2
    mask = draw(shape, int(density * prod(shape)), torch.Generator().manual_seed(0))
    weight = torch.randn(shape) * mask
    parts = pack(weight, mask)
    wanted = prod(shape) // 8 + 4 * int(mask.sum()) + 2 * 8
    assert sum(part.nbytes for part in parts.values()) == wanted
    save_file(parts, tmp_path / "packed.safetensors")
    save_file({"weight": weight}, tmp_path / "dense.safetensors")
    packed, dense = (
        (tmp_path / f"{name}.safetensors").stat().st_size for name in ("packed", "dense")
    )
    assert packed < wanted + 400  # the file's own header
    assert packed / dense == pytest.approx(density + 1 / 32, abs=0.002)
    assert torch.equal(unpack(load_file(tmp_path / "packed.safetensors")), weight)


def test_packing_loses_nothing_silently_and_damage_is_told() -> None:
    weight, mask = torch.ones(3, 3), torch.eye(3, dtype=torch.bool)
    with pytest.raises(RunError, match="6 weights outside of the mask"):
        pack(weight, mask)
    parts = pack(weight * mask, mask)
    with pytest.raises(RunError, match="values is missing"):
        unpack({name: part for name, part in parts.items() if name != "values"})
    with pytest.raises(RunError, match="keeps 3 weights, values are 2"):
        unpack(parts | {"values": parts["values"][:2]})
    with pytest.raises(RunError, match="no mask of"):
        unpack(parts | {"bitmask": parts["bitmask"][:1]})
    with pytest.raises(RunError, match="beyond the 9 entries"):
        unpack(parts | {"bitmask": torch.tensor([0, 255], dtype=torch.uint8)})
