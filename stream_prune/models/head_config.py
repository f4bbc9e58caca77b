"""What the sizes of every head have in common."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HeadConfig:
    """Sizes that come from the features and the tables.

    Args:
        dense: N, the dense features; 0 is allowed.
        tables: F, the categorical features.
        dim: D, the embedding dimension.

    Raises:
        ValueError: a size out of range, by name.
    """

    dense: int
    tables: int
    dim: int

    def __post_init__(self) -> None:
        self.check(0, "dense", "tables")
        self.check(1, "dim")
        if self.dense + self.tables == 0:
            raise ValueError("a head needs dense features or tables")

    def check(self, least: int, *names: str) -> None:
        """Raises ValueError for a size below ``least``."""
        for name in names:
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}: must be {least} or more")

    def check_widths(self, *names: str) -> None:
        """Raises ValueError for a list of widths that holds one below 1."""
        for name in names:
            if any(width < 1 for width in getattr(self, name)):
                raise ValueError(f"{name} = {getattr(self, name)}: widths must be 1 or more")
