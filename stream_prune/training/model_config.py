"""What a training run is told of the model: its name, widths, and what that model alone has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import nn

from stream_prune.errors import ConfigError
from stream_prune.models.dcn import DCNHead, DCNHeadConfig
from stream_prune.models.deepfm import DeepFMHead
from stream_prune.models.dhen import DHENHead, DHENHeadConfig
from stream_prune.models.dlrm import DLRMHead, DLRMHeadConfig
from stream_prune.models.first_order import FirstOrderHeadConfig
from stream_prune.models.head_config import HeadConfig
from stream_prune.models.wide_deep import WideDeepHead
from stream_prune.training.dataclass_reader import read
from stream_prune.training.own_parts import part
from stream_prune.training.ranges import at_least

HEADS: Mapping[str, tuple[type[HeadConfig], Callable[[Any], nn.Module]]] = {
    "dcn": (DCNHeadConfig, DCNHead),
    "deepfm": (FirstOrderHeadConfig, DeepFMHead),
    "dhen": (DHENHeadConfig, DHENHead),
    "dlrm": (DLRMHeadConfig, DLRMHead),
    "wide_deep": (FirstOrderHeadConfig, WideDeepHead),
}
_BOTTOM = (32,)


@dataclass(frozen=True)
class ModelConfig:
    """The model.

    Attributes:
        name: dlrm, dcn, deepfm, dhen or wide_deep; or your own head, a module class with its
            ``HeadConfig`` as the attribute ``Config``, as ``package.module:Name``.
        dim: the embedding dimension D.
        bottom: hidden widths of the MLP over the dense features (dlrm, dhen); the others have none.
        top: hidden widths of the MLP that ends in the logit; dcn, deepfm and wide_deep: the deep
            network's.
        parameters: the model's own settings, such as the rank of dcn: see the configuration of
            its head in :mod:`stream_prune.models`.
    """

    name: str = "dlrm"
    dim: int = 16
    bottom: tuple[int, ...] = _BOTTOM
    top: tuple[int, ...] = (64, 32)
    parameters: Mapping[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        at_least(1, dim=self.dim)
        for name in ("bottom", "top"):
            at_least(1, **{f"{name}[{i}]": n for i, n in enumerate(getattr(self, name))})
        if "bottom" not in self._fields():
            if self.bottom not in (_BOTTOM, ()):
                raise ConfigError(
                    f"bottom = {list(self.bottom)}: {self.name} has no bottom MLP: "
                    "leave it out or give []"
                )
            object.__setattr__(self, "bottom", ())
        self.head_config(1, 1)  # its settings are wrong now or never

    def head_config(self, dense: int, tables: int) -> HeadConfig:
        """The head's configuration for N dense features and F tables.

        Raises:
            ConfigError: a setting that the model does not have, or out of range.
        """
        sizes = {"dense": dense, "tables": tables, "dim": self.dim, "top": self.top}
        if "bottom" in self._fields():
            sizes["bottom"] = self.bottom
        parameters = self.parameters or {}
        known = [name for name in self._fields() if name not in sizes]
        for name in parameters:
            if name not in known:
                raise ConfigError(
                    f"parameters.{name}: {self.name} has no such setting; it has "
                    f"{', '.join(known) or 'none'}"
                )
        try:
            return read(self._parts()[0], {**sizes, **parameters})
        except ConfigError as error:
            named = re.match(r"\w+", str(error))
            own = named is not None and named.group() in parameters
            raise ConfigError(f"parameters.{error}" if own else str(error)) from None

    def build_head(self, dense: int, tables: int) -> nn.Module:
        """The head for N dense features and F tables, with weights from torch's generator."""
        return self._parts()[1](self.head_config(dense, tables))

    def _parts(self) -> tuple[type[HeadConfig], Callable[[Any], nn.Module]]:
        found = part("name", self.name, HEADS)
        if isinstance(found, tuple):
            return found
        config = getattr(found, "Config", None)
        if not (isinstance(config, type) and issubclass(config, HeadConfig)):
            raise ConfigError(
                f"name = {self.name!r}: must be a module class with an attribute Config, a "
                "dataclass that extends stream_prune.models.head_config.HeadConfig"
            )
        return config, found

    def _fields(self) -> list[str]:
        return [field.name for field in fields(self._parts()[0])]
