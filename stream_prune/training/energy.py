"""The energy that the processors have used, where the machine tells it."""

from __future__ import annotations

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class Energy:
    """Joules of all processor packages since it was made, by their own counters (RAPL).

    They count the whole machine: other programs too. Linux tells them to root alone, most virtual
    machines not at all; then there is no figure.

    Source: the Linux kernel's powercap interface (``energy_uj``, ``max_energy_range_uj``).

    Args:
        folder: where the kernel's counters lie.
    """

    def __init__(self, folder: Path = POWERCAP) -> None:
        packages = (zone for zone in sorted(folder.glob("*-rapl:*")) if zone.name.count(":") == 1)
        self._last = {zone: value for zone in packages if (value := _read(zone)) is not None}
        self._microjoules = 0

    def joules(self) -> float | None:
        """Used so far. A counter begins again at its range, so ask at least every few minutes."""
        for zone, before in self._last.items():
            now = _read(zone)
            if now is None:
                continue
            self._microjoules += now - before if now >= before else now - before + _range(zone)
            self._last[zone] = now
        return self._microjoules / 1e6 if self._last else None


def _read(zone: Path) -> int | None:
    try:
        return int((zone / "energy_uj").read_text())
    except (OSError, ValueError):  # not for us to read: there is no figure then
        return None


def _range(zone: Path) -> int:
    return int((zone / "max_energy_range_uj").read_text())
