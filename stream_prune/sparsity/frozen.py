"""A frozen copy of the model, scored beside the live one on what that is about to learn."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from stream_prune.errors import ConfigError, RunError
from stream_prune.sparsity.example import Example, flatten
from stream_prune.sparsity.groups import named_tensors
from stream_prune.sparsity.layout import Layout
from stream_prune.sparsity.mirror import Mirror
from stream_prune.sparsity.paired import Floats, as_floats
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.surgery import resize
from stream_prune.stateful import State

Outputs = Literal["logits", "probabilities"]

_SHAPING = ("Squeeze", "Unsqueeze", "View", "Reshape", "Select", "Slice", "ToCopy", "Alias")


def freeze(model: nn.Module) -> nn.Module:
    """A copy that neither trains nor follows: evaluation mode, no gradients.

    Raises:
        RunError: the model holds something that cannot be copied.
    """
    try:
        frozen = copy.deepcopy(model).eval().requires_grad_(False)
    except (RuntimeError, TypeError) as error:
        raise RunError(
            f"guardrail: the model {type(model).__name__} cannot be copied in training, and there "
            f"is nothing to compare with then: {error} (a module that keeps an activation of its "
            "last pass as an attribute does this: detach it there, or leave the guardrail out)"
        ) from error
    for param in frozen.parameters():
        param.grad = None
    return frozen


class SideBySide:
    """Scores the live model and a frozen copy on the inputs of the live one's training passes.

    A forward pre-hook, there only while something is compared, runs both without gradient and in
    evaluation mode before every pass of the live model in which gradients are recorded: so neither
    has learned these examples yet. Running statistics, random numbers and training mode are left
    as they were. It costs a forward pass of each, about a third of a training step and more while
    the copy is the wider one.

    Args:
        model: the live model.
        outputs: what it gives: one "logits" or "probabilities" number per example.
    """

    def __init__(self, model: nn.Module, outputs: Outputs) -> None:
        self._live, self._outputs = model, outputs
        self._frozen: nn.Module | None = None
        self._hook: RemovableHandle | None = None
        self._seen: list[Tensor] = []
        self._devices: list[int] = []

    def start(self, frozen: nn.Module) -> None:
        """Compare with this copy from now on."""
        self.stop()
        self._frozen = frozen
        live = self._live
        devices = {t.device.index for t in _tensors(frozen).values() if t.device.type == "cuda"}
        self._devices = sorted(devices)

        def score(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if module is live and torch.is_grad_enabled():  # not in a copy that the user made
                self._score(frozen, args, kwargs)

        # Inside of a compiled model it would be traced into the graph.
        score = torch.compiler.disable(score)  # type: ignore[no-untyped-call]
        self._hook = live.register_forward_pre_hook(score, with_kwargs=True)

    def stop(self) -> None:
        """Let the copy go."""
        if self._hook is not None:
            self._hook.remove()
        self._hook, self._frozen, self._seen = None, None, []

    def take(self, rows: int) -> tuple[Floats, Floats]:
        """Probabilities of the live and the frozen model for the last ``rows`` examples.

        Several passes before one optimizer step follow each other in their order. What was seen
        before them is dropped.

        Raises:
            RunError: the passes since the last call do not end in a pass over these examples.
        """
        seen, self._seen = self._seen, []
        chosen: list[Tensor] = []
        while seen and sum(part.shape[1] for part in chosen) < rows:
            chosen.insert(0, seen.pop())
        found = sum(part.shape[1] for part in chosen)
        if found != rows:
            raise RunError(
                f"guardrail: controller.step was given {rows} labels, but the passes with "
                f"gradients through the model since the step before were over {found} examples: "
                "give the labels of every example that was learned, in the same order (passes that "
                "are replayed from a CUDA graph are not seen: leave the guardrail out there)"
            )
        live, frozen = torch.cat(chosen, dim=1)
        return as_floats(live), as_floats(frozen)

    def drop(self) -> None:
        """Forget the passes since the last call."""
        self._seen = []

    @property
    def nbytes(self) -> int:
        """Memory of the copy, in bytes; 0 without one."""
        if self._frozen is None:
            return 0
        return sum(t.numel() * t.element_size() for t in _tensors(self._frozen).values())

    @torch.no_grad()
    def _score(self, frozen: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with torch.random.fork_rng(devices=self._devices), _evaluating(self._live):
            # forward() itself: the hooks of a call have changed the inputs already.
            both = [self._scores(model.forward(*args, **kwargs)) for model in (self._live, frozen)]
        self._seen.append(torch.stack(both))

    def _scores(self, output: Any) -> Tensor:
        scores = flatten(output)[0].detach().reshape(-1).double()
        return torch.sigmoid(scores) if self._outputs == "logits" else scores

    def state_dict(self) -> State:
        if self._frozen is None:
            return {}
        return {name: tensor.clone() for name, tensor in _tensors(self._frozen).items()}

    @torch.no_grad()
    def load_state_dict(self, state: State, layout: Layout, live: Plan, plan: Plan) -> None:
        """Take up a comparison; an empty state means none.

        Args:
            state: the copy's tensors.
            layout: the groups.
            live: the plan that the live model is under.
            plan: the plan that the copy was under.
        """
        self.stop()
        if not state:
            return
        frozen = freeze(self._live)
        resize(frozen, None, layout, Mirror(), live, plan)
        for name, tensor in _tensors(frozen).items():
            saved = state[name]
            assert isinstance(saved, Tensor)
            tensor.copy_(saved)
        self.start(frozen)


def check_outputs(model: nn.Module, example: Example, outputs: Outputs) -> None:
    """Whether a model's outputs on an example can be compared with labels.

    Raises:
        ConfigError: they are not one number per example, or not of the kind that ``outputs`` says.
    """
    with torch.random.fork_rng(), _evaluating(model), torch.enable_grad():
        found = flatten(example.call(model))
    if not found or found[0].numel() != example.rows:
        shape = list(found[0].shape) if found else "no tensor"
        raise ConfigError(
            f"guardrail: the model's output for {example.rows} examples is {shape}: it compares "
            "models of one logit or probability per example"
        )
    outside = not bool(((found[0] >= 0) & (found[0] <= 1)).all())
    if outputs == "probabilities" and outside:
        raise ConfigError(
            "guardrail.outputs = 'probabilities': the model's outputs for the example lie outside "
            "of [0, 1]: use logits"
        )
    if outputs == "logits" and _made_by(found[0]).startswith("Sigmoid"):
        raise ConfigError(
            "guardrail.outputs = 'logits': the model ends in a sigmoid: use probabilities"
        )


def _made_by(output: Tensor) -> str:
    """The operation that an output comes from, reshaping aside."""
    node = output.grad_fn
    while node is not None and node.name().startswith(_SHAPING):
        node = node.next_functions[0][0]
    return "" if node is None else node.name()


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, each once."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in named_tensors(model):
        found.setdefault(id(tensor), (name, tensor))
    return dict(found.values())


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode by the flags alone, so that nothing else a module does in train() happens."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
