"""The one thing that a checkpoint knows about the parts it saves."""

from typing import Protocol, TypeAlias

from torch import Tensor

StateValue: TypeAlias = Tensor | int | float | str | bytes
State: TypeAlias = dict[str, StateValue]


class Stateful(Protocol):
    """A part with state that decides later results.

    After ``b.load_state_dict(a.state_dict())`` the two behave alike, bit for bit. Values are plain,
    so that nothing on the load path has to unpickle.
    """

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...
