"""i-PI takes energies, forces and virials from the calculator through its socket: the files of the documentation."""

import importlib.util
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.socketio import SocketIOCalculator, actualunixsocketname
from ase.io import read, write
from ase.units import GPa

import gnnpot
from tests.child_process import environment

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "i-pi"


@pytest.fixture
def address():
    """A name of a socket that no other test has."""
    name = f"gnnpot-{uuid.uuid4().hex[:8]}"
    yield name
    Path(actualunixsocketname(name)).unlink(missing_ok=True)


@pytest.fixture
def atoms():
    atoms = bulk("NaCl", "rocksalt", a=5.5, cubic=True)
    atoms.rattle(0.05, seed=0)
    return atoms


def started(command: list[str], folder: Path) -> subprocess.Popen:
    with (folder / f"{Path(command[1]).name}.log").open("w") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, env=environment())


def ended(process: subprocess.Popen) -> int:
    try:
        return process.wait(timeout=900)
    finally:
        process.kill()


def test_path_integrals_of_the_documentation(tmp_path, atoms, address):
    program = Path(sys.executable).with_name("i-pi")
    if importlib.util.find_spec("ipi") is None or not program.exists():
        pytest.skip("needs i-PI: pip install ipi")
    text = (EXAMPLE / "input.xml").read_text()
    assert "<address> gnnpot </address>" in text
    (tmp_path / "input.xml").write_text(text.replace("<address> gnnpot </address>", f"<address> {address} </address>"))
    shutil.copy(EXAMPLE / "client.py", tmp_path)
    write(tmp_path / "init.extxyz", atoms)
    server = started([sys.executable, str(program), "input.xml"], tmp_path)
    try:
        waited = time.monotonic()
        while not Path(actualunixsocketname(address)).exists():
            assert server.poll() is None and time.monotonic() - waited < 120, (tmp_path / "i-pi.log").read_text()
            time.sleep(0.2)
        client = started([sys.executable, "client.py", "init.extxyz", address], tmp_path)
        assert ended(server) == 0, (tmp_path / "i-pi.log").read_text()[-2000:]
        ended(client)
    finally:
        server.kill()
    step, _, conserved, temperature, potential, *virial = np.loadtxt(tmp_path / "run.out").T
    assert step.tolist() == list(range(11)) and (temperature > 0).all()
    # at first, all beads are at one place
    atoms.calc = gnnpot.Calculator("fast", dtype="float64")
    assert potential[0] == pytest.approx(atoms.get_potential_energy(), abs=1e-5)  # its units are older than ASE's
    expected = -atoms.get_stress()[[0, 1, 2, 5, 4, 3]] / GPa
    np.testing.assert_allclose([component[0] for component in virial], expected, rtol=1e-4, atol=1e-5)
    assert abs(conserved - conserved[0]).max() < 1e-3
    assert len(read(tmp_path / "run.positions_0.extxyz", ":", format="extxyz")) == 2


def test_ases_server(tmp_path, atoms, address):
    """The same client, asked by ASE."""
    write(tmp_path / "init.extxyz", atoms)
    shutil.copy(EXAMPLE / "client.py", tmp_path)
    with SocketIOCalculator(unixsocket=address) as server:
        client = started([sys.executable, "client.py", "init.extxyz", address], tmp_path)
        moved = atoms.copy()
        moved.rattle(0.02, seed=1)
        moved.calc = server
        found = moved.get_potential_energy(), moved.get_forces(), moved.get_stress()
    ended(client)
    moved.calc = gnnpot.Calculator("fast", dtype="float64")
    assert found[0] == pytest.approx(moved.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(found[1], moved.get_forces(), atol=1e-8)
    np.testing.assert_allclose(found[2], moved.get_stress(), atol=1e-8)
