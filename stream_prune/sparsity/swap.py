"""Another tensor under the same name and identity: how a parameter changes its shape."""

from __future__ import annotations

import gc
from typing import Any

import torch
from torch import Tensor, nn

from stream_prune.errors import RunError

_MAX_REFERENCES = 2  # the parameter itself, and the gradient accumulator of a finished graph


def check_swappable(name: str, tensor: Tensor) -> None:
    """Whether :func:`swap` can be done now.

    A weak reference to the parameter (``torch.compile`` holds some, so may anybody) is no obstacle:
    it means the object, which stays the same. One that torch's own C++ holds means the contents.

    Args:
        name: of the tensor, for the message.
        tensor: to be swapped.

    Raises:
        RunError: a graph still to be run backward, or C++ code, holds on to what is in it now.
    """
    probe = torch.empty(0)
    try:
        torch._C._swap_tensor_impl(tensor, probe)
    except RuntimeError as error:
        raise RunError(
            f"parameter {name!r} cannot be resized in place, something in torch watches its "
            f"contents (CUDA graphs do): {error}; resize outside of it"
        ) from error
    torch._C._swap_tensor_impl(tensor, probe)
    if tensor._use_count() > _MAX_REFERENCES:  # type: ignore[attr-defined]
        gc.collect()  # a finished pass may only be waiting in a reference cycle
    if tensor._use_count() > _MAX_REFERENCES:  # type: ignore[attr-defined]
        raise RunError(
            f"parameter {name!r} is held by an autograd graph that has not been run backward: "
            "call controller.step() right after optimizer.step(), and run other forward passes "
            "under torch.no_grad() or drop their outputs first"
        )


def swap(live: Tensor, part: Tensor) -> None:
    """Give ``live`` the contents of ``part``; it stays the same object, with all its attributes.

    As ``torch.utils.swap_tensors``, which refuses where there are weak references and loses hooks
    on gradients. A parameter's gradient is dropped.

    Args:
        live: a parameter or buffer that :func:`check_swappable` has passed.
        part: of any shape; not to be used afterwards.
    """
    if not isinstance(live, nn.Parameter):
        torch._C._swap_tensor_impl(live, part)
        return
    live.grad = None
    hooks: Any = live._backward_hooks
    after_hooks: Any = live._post_accumulate_grad_hooks
    if live.requires_grad and live._use_count() == _MAX_REFERENCES:  # type: ignore[attr-defined]
        torch.autograd.graph.get_gradient_edge(live).node.register_prehook(_refuse)
    torch._C._swap_tensor_impl(live, nn.Parameter(part, requires_grad=live.requires_grad))
    if hooks:
        live._backward_hooks = hooks
    if after_hooks:
        live._post_accumulate_grad_hooks = after_hooks


def _refuse(gradients: Any) -> None:
    del gradients
    raise RunError(
        "backward was run again on a graph from before the model was resized (retain_graph): "
        "run the model again instead"
    )


def touch(module: nn.Module) -> None:
    """Show torch.compile that a module's tensors have changed.

    Its guards may pass over a tensor as long as the dict that holds it has not been written to, and
    a swapped tensor is the same object: a graph for the shapes of before would be run.
    """
    held: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
    for tensors in held:
        for name, tensor in list(tensors.items()):
            tensors[name] = None  # writing the same value would be no change
            tensors[name] = tensor
