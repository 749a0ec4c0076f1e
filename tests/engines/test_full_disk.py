"""A disk that becomes full during molecular dynamics gives an error that names the file, and loses no frames."""

import errno
from pathlib import Path
from pkgutil import resolve_name

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from gnnpot.engines.md import MDConfig, run_md
from gnnpot.engines.md_config import MDSample
from gnnpot.engines.md_log import LogFile
from gnnpot.engines.trajectories import STATE
from gnnpot.engines.trajectory_reader import read_trajectory
from gnnpot.errors import DataError


@pytest.mark.parametrize(
    ("ending", "writing"),
    [
        (".traj", "ase.io.ulm.Writer.write"),
        (".extxyz", "gnnpot.engines.trajectories.write_extxyz"),
        (".zarr", "gnnpot.engines.zarr_trajectory.ZarrWriter.place"),
    ],
)
def test_a_frame_that_does_not_fit_names_the_trajectory_which_can_be_resumed(ending, writing, tmp_path, monkeypatch):
    path, config, near = tmp_path / f"run{ending}", MDConfig(steps=6, interval=2), []
    atoms = bulk("Cu", cubic=True)
    original = resolve_name(writing)

    def on_full_disk(*args, **kwargs):
        if near:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("gnnpot.engines.zarr_trajectory.FLUSH_SECONDS", 0.0)
        patch.setattr(writing, on_full_disk)
        with pytest.raises(DataError, match=rf"run\{ending}: can't be written \(No space left on device\)"):
            run_md(atoms, EMT(), config, trajectory=path, progress=lambda s: s.step == 3 and near.append(s))
    run_md(atoms, EMT(), config, trajectory=path, resume=True)
    assert [frame.info.get(STATE, frame.info)["step"] for frame in read_trajectory(path)] == [0, 2, 4, 6]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_line_that_does_not_fit_names_the_log(tmp_path):
    """Closing the log writes the line again, whose error must not replace that of the line."""
    sample = MDSample(0, 0.0, 300.0, -1.0, 1.0, 0.0, volume=None, pressure=None)
    with pytest.raises(DataError, match=r"run\.log: can't be written"), LogFile(tmp_path / "run.log", sample) as log:
        log._file.close()
        log._file = open("/dev/full", "a", encoding="utf-8")  # noqa: SIM115 - the log closes it
        log.write(sample)
