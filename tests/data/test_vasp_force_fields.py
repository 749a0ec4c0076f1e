"""Steps of VASP whose labels are not results of DFT: no labels, but structures."""

from pathlib import Path

import numpy as np
import pytest

from gnnpot.data import read_frames, read_structures
from gnnpot.errors import DataError

from .test_dft_readers import read, write
from .vasp_files import outcar, vasprun

SAMPLES = Path(__file__).parent / "samples" / "vasp"


@pytest.fixture(scope="module")
def steps():
    """Three steps of a relaxation with its cell."""
    return [f.replace(magmoms=None) for f in read_frames(SAMPLES / "vasprun.si-relax-6.4.2.xml.xz")][:3]


def learned(text: str, with_cell: bool = True) -> str:
    """OUTCAR whose second step is one of a force field, as VASP 6.4 writes it."""
    before, step = text.split("     LOOP+:")[:2]
    own = step[step.index("  FORCE on cell") :]
    for dft, ml in (
        ("  FORCE on cell", "  ML FORCE on cell"), ("(eV/Angst)", "(eV/Angst) (ML)"),
        ("  FREE ENERGIE", "  ML FREE ENERGIE"), ("energy   TOTEN", "energy ML TOTEN"),
    ):  # fmt: skip
        own = own.replace(dft, ml)
    if not with_cell:
        own = own.replace("direct lattice vectors", "vectors")
    alone = f" \n{'-' * 30} Ionic step        2  {'-' * 30}\n{own}"
    return "     LOOP+:".join([before, alone, *text.split("     LOOP+:")[2:]])


def test_the_other_steps_of_a_run_with_a_force_field_are_labels(tmp_path, steps):
    files = {"OUTCAR": learned(outcar(steps)), "vasprun.xml": vasprun(steps, steps=[7, 0, 7])}
    for name, text in files.items():
        path = write(tmp_path / name, text)
        frames, skipped = read(path)
        assert [f.energy for f in frames] == pytest.approx([steps[0].energy, steps[2].energy], abs=1e-6)
        assert skipped == {"no electronic steps": 1}
        with pytest.raises(DataError, match=r"machine-learned force field; the other steps .*--bad-frames skip"):
            list(read_frames(path))


def test_structures_of_a_force_field_and_of_a_fixed_density_are_read(tmp_path, steps):
    paths = (
        write(tmp_path / "OUTCAR", learned(outcar(steps))),
        write(tmp_path / "vasprun.xml", vasprun(steps, steps=[7, 0, 7])),
        write(tmp_path / "fixed-vasprun.xml", vasprun(steps, ICHARG="11")),
    )
    for path in paths:
        frames = read_structures([path])
        assert len(frames) == len(steps) and not any(frame.labels for frame in frames)
        for found, expected in zip(frames, steps, strict=True):
            assert np.allclose(found.positions, expected.positions, atol=1e-5)
            assert np.allclose(found.cell, expected.cell, atol=1e-6)
    assert len(read_structures([SAMPLES / "OUTCAR.icharg-5.3.5.xz"])) == 1


def test_a_step_of_a_force_field_without_its_cell_is_refused(tmp_path, steps):
    path = write(tmp_path / "OUTCAR", learned(outcar(steps), with_cell=False))
    with pytest.raises(DataError, match="has no positions or no energy"):
        read_structures([path])


def test_structures_only_is_no_option_of_the_command_line(tmp_path, steps):
    path = write(tmp_path / "vasprun.xml", vasprun(steps))
    with pytest.raises(DataError, match="structures_only='false' can't be given as text"):
        list(read_frames(path, structures_only="false"))
