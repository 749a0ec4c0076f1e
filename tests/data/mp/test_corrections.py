"""MP2020 against the published values of Wang et al. (2021), Table 1, eV per corrected atom."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from gnnpot.data.mp import Curation, DeltaSource, TrajectoryTable, curate
from gnnpot.data.mp.corrections import NO_ENTRY, mp2020
from gnnpot.data.mp.filters import Labels

from .conftest import write_table

OXIDE, PEROXIDE, CHLORIDE, FLUORIDE, IRON = -0.687, -0.465, -0.614, -0.462, -2.256


def correction(atoms: Atoms, run_type: str = "GGA") -> float | None:
    return mp2020(atoms.numbers, atoms.positions, atoms.cell.array, run_type)


def test_published_values():
    hematite = crystal(
        ["Fe", "O"], [(0, 0, 0.355), (0.306, 0, 0.25)], spacegroup=167, cellpar=[5.04, 5.04, 13.75, 90, 90, 120]
    )
    assert correction(bulk("MgO", "rocksalt", a=4.25)) == pytest.approx(OXIDE, abs=1e-3)
    assert correction(bulk("NaCl", "rocksalt", a=5.7, cubic=True)) == pytest.approx(4 * CHLORIDE, abs=4e-3)
    assert correction(bulk("LiF", "rocksalt", a=4.1)) == pytest.approx(FLUORIDE, abs=1e-3)
    assert correction(hematite, "GGA+U") == pytest.approx(12 * IRON + 18 * OXIDE, abs=0.03)
    assert correction(hematite, "GGA") is None
    assert correction(bulk("MgO", "rocksalt", a=4.25), "GGA+U") is None
    assert correction(bulk("Cu")) == 0


def test_oxygen_that_is_bound_to_oxygen():
    peroxide = Atoms("Li4O4", cell=[3.2, 3.2, 7.7], pbc=True)
    peroxide.positions = [
        (0, 0, 0), (0, 0, 3.85), (1.6, 1.6, 1.9), (1.6, 1.6, 5.8),
        (0.3, 1.6, 0.2), (0.3, 1.6, 1.7), (1.9, 0.1, 4.0), (1.9, 0.1, 5.5),
    ]  # fmt: skip
    assert correction(peroxide) == pytest.approx(4 * PEROXIDE, abs=4e-3)


def test_corrected_labels_are_recorded(rows, tmp_path):
    for one in rows:
        one["run_type"] = "GGA"
    rows[-1]["run_type"] = "GGA+U"
    source = DeltaSource(TrajectoryTable.open(write_table(tmp_path / "t", rows)))
    options = {"filters": (Labels(),)}
    plain = curate(source, Curation(**options), tmp_path / "plain")
    corrected = curate(source, Curation(**options, corrections="mp2020"), tmp_path / "corrected")
    energies = {f.provenance.source_id: f for f in plain}
    shifts = {}
    for frame in corrected:
        raw = energies[frame.provenance.source_id]
        assert np.array_equal(raw.forces, frame.forces) and np.array_equal(raw.stress, frame.stress)
        shifts.setdefault(frame.provenance.material_id, set()).add(round((frame.energy - raw.energy) / len(frame), 6))
    assert shifts["Cu"] == {0.0} and shifts["MgO"] == {-0.3435} and shifts["FLi"] == {-0.231}
    assert "MP2020" in corrected.manifest.curation["conventions"]["corrections"]
    assert plain.manifest.curation["options"]["corrections"] == "none"
    assert corrected.manifest.filters[NO_ENTRY] == len(plain) - len(corrected) > 0
