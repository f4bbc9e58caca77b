"""A plan as a value."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.sparsity import Plan

kept = st.sets(st.integers(0, 40), min_size=1).map(lambda units: tuple(sorted(units)))
random_plans = st.builds(
    Plan,
    st.dictionaries(st.text(min_size=1), kept, max_size=4),
    st.dictionaries(st.text(min_size=1), st.integers(1, 10**6), max_size=3),
)


@given(plan=random_plans)
def test_a_plan_survives_json_and_copying_and_keeps_its_hash(plan: Plan) -> None:
    for other in (Plan.from_dict(json.loads(json.dumps(plan.to_dict()))), copy.deepcopy(plan)):
        assert other == plan
        assert hash(other) == hash(plan)
    assert plan.widths == {name: len(units) for name, units in plan.units.items()}


def test_a_plan_cannot_be_changed_and_holds_ascending_units() -> None:
    plan = Plan({"a": (0, 2)}, {"user": 3})
    with pytest.raises(TypeError):
        plan.units["a"] = (1,)  # type: ignore[index]
    with pytest.raises(ValueError, match="a: kept units must ascend"):
        Plan({"a": (2, 0)})
