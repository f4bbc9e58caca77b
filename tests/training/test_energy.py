"""Energy is read from the kernel's counters, which begin again at their range."""

from pathlib import Path

import pytest

from stream_prune.training.energy import Energy


def package(folder: Path, name: str, microjoules: int) -> Path:
    zone = folder / name
    zone.mkdir(exist_ok=True)
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    (zone / "max_energy_range_uj").write_text("1000000\n")
    return zone


def test_joules_of_all_packages_add_up_also_over_the_end_of_a_counter(tmp_path: Path) -> None:
    package(tmp_path, "intel-rapl:0", 900_000)
    package(tmp_path, "intel-rapl:1", 0)
    package(tmp_path, "intel-rapl:0:0", 5)  # a part of package 0
    energy = Energy(tmp_path)
    package(tmp_path, "intel-rapl:0", 100_000)
    package(tmp_path, "intel-rapl:1", 50_000)
    assert energy.joules() == pytest.approx(0.25)
    package(tmp_path, "intel-rapl:0:0", 700_000)
    assert energy.joules() == pytest.approx(0.25)


def test_a_machine_that_tells_nothing_has_no_figure(tmp_path: Path) -> None:
    assert Energy(tmp_path).joules() is None
    (package(tmp_path, "intel-rapl:0", 1) / "energy_uj").unlink()
    assert Energy(tmp_path).joules() is None
