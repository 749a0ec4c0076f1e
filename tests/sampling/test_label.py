"""Labels are the calculator's, frames are the same however they were made, and nothing is lost to a kill."""

import functools
import hashlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from gnnpot.data import Frame, FrameStore, Provenance
from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.results_log import ResultsLog
from gnnpot.sampling import (
    LabelConfig,
    Labeller,
    Limits,
    Melted,
    Original,
    Pairs,
    Rattled,
    Scaled,
    Strained,
    Substituted,
    Vacancies,
    label,
)
from gnnpot.sampling.tasks import LabelTask, LabelWorker, pack, unpack
from tests.child_process import environment

TEACHER = Labeller(EMT, "EMT")
CONFIG = LabelConfig(
    (
        Original(), Rattled(rattle=0.1, count=2), Scaled(volume=(0.6, 1.4)), Melted(count=2, steps=8, temperature=800),
        Pairs(distance=(0.7, 1.2)), Vacancies(rattle=0.05),
    ),
    seed=3,
)  # fmt: skip


def structures(symbols=("Cu", "Al", "Au")) -> list[Frame]:
    return [
        Frame.from_atoms(bulk(s, cubic=True), Provenance("bulk", str(k), f"mat-{s}")) for k, s in enumerate(symbols)
    ]


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FrameStore:
    return label(structures(), TEACHER, tmp_path_factory.mktemp("label") / "a.store", CONFIG)


def test_labels_are_what_the_calculator_says(store):
    assert len(store) == 3 * 8
    for frame in store:
        atoms = frame.to_atoms()
        atoms.calc = EMT()
        assert frame.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        assert np.allclose(frame.forces, atoms.get_forces(), atol=1e-12)
        if frame.pbc.all():
            assert np.allclose(frame.stress, atoms.get_stress(), atol=1e-12)
        else:
            assert frame.stress is None and len(frame) == 2


def test_provenance_says_by_what_from_what_and_how(store):
    kinds = {frame.provenance.config_type for frame in store}
    assert kinds == {d.words for d in CONFIG.distortions}
    p = store[1].provenance
    assert (p.source, p.material_id, p.code) == ("bulk", "mat-Cu", "EMT")
    assert p.source_id == "0; rattled; 0; seed 3" and len({f.provenance.source_id for f in store}) == 24
    assert "rattled" in store.manifest.source and '"seed": 3' in store.manifest.source
    # A frame can be made again from what its provenance says.
    task = LabelTask(0, structures()[0], CONFIG.distortions[1], 0)
    (again,) = LabelWorker(TEACHER, CONFIG).outcomes(task)
    assert np.array_equal(again.positions, store[1].positions) and again.energy == store[1].energy


def test_two_processes_make_the_same_store_as_one(store, tmp_path):
    other = label(structures(), TEACHER, tmp_path / "b.store", CONFIG, processes=2)
    assert digests(other.folder) == digests(store.folder) and [p.name for p in tmp_path.iterdir()] == ["b.store"]


def test_frames_don_t_depend_on_the_structures_beside_them():
    task = LabelTask(5, structures(["Au"])[0], Scaled(volume=(0.6, 1.4)), 0)
    (frame,) = LabelWorker(TEACHER, CONFIG).outcomes(task)
    worker = LabelWorker(TEACHER, CONFIG)
    for other in structures(["Cu", "Al"]):
        list(worker.outcomes(LabelTask(0, other, Rattled(), 0)))
    (again,) = worker.outcomes(LabelTask(2, structures(["Au"])[0], Scaled(volume=(0.6, 1.4)), 0))
    assert np.array_equal(frame.positions, again.positions) and np.array_equal(frame.forces, again.forces)


SCRIPT = """
import os, signal, sys
from test_label import CONFIG, TEACHER, structures
from gnnpot.sampling import label

def progress(done, total):
    if done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    label(structures(), TEACHER, sys.argv[1], CONFIG, processes=int(sys.argv[3]), progress=progress)
"""


def test_killed_and_resumed_the_store_is_byte_for_byte_the_same(store, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    output = tmp_path / "a.store"
    for stop, processes in ((4, 2), (13, 1)):
        command = [sys.executable, script, output, str(stop), str(processes)]
        ended = subprocess.run(command, env=environment(Path(__file__).parent), check=False, stderr=subprocess.DEVNULL)
        assert ended.returncode == -signal.SIGKILL and not output.exists()
        records = tmp_path / "a.store.labelling" / "journal"
        # A kill in the middle of a record leaves a part of it.
        with records.open("ab") as file:
            file.write(b"\x10\0\0\0\0\0\0\0cut off")
    calls = []
    finished = label(structures(), TEACHER, output, CONFIG, progress=lambda done, _: calls.append(done))
    assert calls[0] == 13 and calls[-1] == 3 * 7
    assert digests(finished.folder) == digests(store.folder) and not records.parent.exists()


def test_killed_at_its_very_end_it_ends_again(store, tmp_path, monkeypatch):
    """The store has its name, the results log is not removed yet."""
    output = tmp_path / "a.store"
    with monkeypatch.context() as patch:
        patch.setattr(ResultsLog, "remove", ResultsLog.close)
        label(structures(), TEACHER, output, CONFIG)
    assert (tmp_path / "a.store.labelling").is_dir()
    finished = label(structures(), TEACHER, output, CONFIG)
    assert digests(finished.folder) == digests(store.folder) and [p.name for p in tmp_path.iterdir()] == ["a.store"]
    with pytest.raises(DataError, match="exists already"):
        label(structures(), TEACHER, output, CONFIG)


def test_what_is_left_out_is_counted(tmp_path):
    config = LabelConfig(
        (Original(), Strained(strain=0.01), Pairs(distance=(0.1, 0.2), count=2), Rattled(rattle=0.4, count=3)),
        limits=Limits(max_force=20.0),
    )
    water = Frame.from_atoms(molecule("H2O"), Provenance("molecules", "0", "H2O"))
    silicon = Frame.from_atoms(bulk("Si", cubic=True), Provenance("bulk", "9", "Si"))
    made = label([*structures(["Cu"]), water, silicon], TEACHER, tmp_path / "a", config)
    filters = made.manifest.filters
    assert filters["no periodic cell to change"] == 1 and filters["labeller failed: NotImplementedError"] >= 5
    assert filters["atoms closer than 0.6 Å"] >= 4
    assert sum(filters.values()) + len(made) == 3 * 7
    assert all(np.linalg.norm(f.forces, axis=1).max() <= 20 for f in made)
    with pytest.raises(DataError, match=r"no frame could be labelled \(labeller failed: NotImplementedError: 1\)"):
        label([silicon], TEACHER, tmp_path / "b", LabelConfig((Original(),)))
    assert not (tmp_path / "b").exists()


class Broken(Calculator):
    """Gives nonsense for what has been moved, with a moment on every atom, and no stress."""

    implemented_properties = ["energy", "forces", "magmoms"]

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        moved = abs(atoms.positions[0]).max()
        n = len(atoms)
        forces = np.full((n, 3), np.nan if moved > 0.1 else 30.0 if moved > 0 else 0.0)
        self.results = {"energy": -1.0, "forces": forces, "magmoms": np.full(n, 2.0)}


class Picky(Calculator):
    """As calculators on torch are with elements that their tables lack."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        raise RuntimeError("Class values must be smaller than num_classes.")


class Dying(Calculator):
    """Takes its process along."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        signal.raise_signal(signal.SIGKILL)


class Sticky(Calculator):
    """Pulls the first two atoms together, at any distance."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        apart = self.atoms.positions[1] - self.atoms.positions[0]
        forces = np.zeros_like(self.atoms.positions)
        forces[0], forces[1] = apart, -apart
        self.results = {"energy": 0.5 * apart @ apart, "forces": forces}


@pytest.mark.parametrize(("distance", "kept"), [((0.3, 0.5), False), ((0.7, 0.9), True)])
def test_pairs_that_attract_within_their_wall_are_left_out(distance, kept):
    worker = LabelWorker(Labeller(Sticky, "sticky"), LabelConfig(limits=Limits(min_distance=0.1, wall=0.6)))
    outcome = next(worker.outcomes(LabelTask(0, structures()[0], Pairs(distance=distance), 0)))
    assert isinstance(outcome, Frame) if kept else outcome == "pair that attracts within its wall"


def test_elements_that_are_not_wanted_are_left_out():
    worker = LabelWorker(TEACHER, LabelConfig(limits=Limits(without=("Cu", "Po"))))
    found = [next(worker.outcomes(LabelTask(k, frame, Original(), 0))) for k, frame in enumerate(structures())]
    assert found[0] == "with Cu" and all(isinstance(outcome, Frame) for outcome in found[1:])
    with pytest.raises(ValueError, match="'Cv' is no chemical element"):
        Limits(without=("Cv",))


def test_another_composition_is_another_material():
    worker = LabelWorker(TEACHER, LabelConfig())
    copper = structures()[0]
    frame = next(worker.outcomes(LabelTask(0, copper, Substituted(elements=("Au",), share=0.25), 0)))
    assert sorted(frame.symbols) == ["Au", "Cu", "Cu", "Cu"] and frame.provenance.material_id == "AuCu3"
    assert next(worker.outcomes(LabelTask(0, copper, Vacancies(), 0))).provenance.material_id == "mat-Cu"


def test_nonsense_is_counted_and_magnetic_moments_are_kept():
    worker = LabelWorker(Labeller(Broken, "broken"), LabelConfig(limits=Limits(max_force=10)))
    (frame,) = worker.outcomes(LabelTask(0, structures()[0], Original(), 0))
    assert frame.magmoms.tolist() == [2.0] * 4 and frame.stress is None
    found = {next(worker.outcomes(LabelTask(0, structures()[0], Rattled(rattle=s), 0))) for s in (0.01, 1.0)}
    assert "force above 10 eV/Å" in found and found & {"forces not finite", "atoms closer than 0.6 Å"}


def test_a_labeller_that_fails_for_a_structure_is_counted():
    worker = LabelWorker(Labeller(Picky, "picky"), LabelConfig())
    assert list(worker.outcomes(LabelTask(0, structures()[0], Original(), 0))) == ["labeller failed: RuntimeError"]


def test_a_process_that_dies_is_said_and_what_was_done_is_kept(tmp_path):
    config = LabelConfig((Original(),))
    with pytest.raises(DataError, match=r"labelling of structure \d: its process died, exit status -9"):
        label(structures(), Labeller(Dying, "EMT"), tmp_path / "a", config, processes=2)
    assert (tmp_path / "a.labelling").is_dir() and not (tmp_path / "a").exists()
    # The labeller's name is what tells one from another: a cured run resumes where the illness stopped it.
    assert len(label(structures(), TEACHER, tmp_path / "a", config)) == 3


def test_other_settings_are_refused(tmp_path):
    config = LabelConfig((Original(),))

    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label(structures(), Labeller(EMT, "other"), tmp_path / "a", config, progress=interrupt)
    with pytest.raises(ConfigError, match=r"other options or inputs \(labeller: was .* --fresh"):
        label(structures(), TEACHER, tmp_path / "a", config)
    assert len(label(structures(), TEACHER, tmp_path / "a", config, fresh=True)) == 3
    with pytest.raises(DataError, match="exists already"):
        label(structures(), TEACHER, tmp_path / "a", config)


def test_packed_outcomes_come_back_to_the_last_bit():
    task = LabelTask(0, structures()[0], Rattled(count=1), 0)
    (frame,) = LabelWorker(TEACHER, CONFIG).outcomes(task)
    (found,), reasons = unpack(pack([frame], ["a", "b"]))
    assert reasons == ["a", "b"] and np.array_equal(found.forces, frame.forces) and found.provenance == frame.provenance
    assert unpack(pack([], ["a"])) == ([], ["a"])


def test_a_mover_of_its_own_moves_but_does_not_label():
    class Still(EMT):
        """No forces."""

        def calculate(self, atoms=None, properties=None, system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            self.results["forces"] = np.zeros_like(self.results["forces"])

    melted = Melted(count=2, steps=10)
    worker = LabelWorker(Labeller(EMT, "EMT", make_mover=Still), LabelConfig((melted,)))
    frames = list(worker.outcomes(LabelTask(0, structures()[0], melted, 0)))
    usual = list(LabelWorker(TEACHER, LabelConfig((melted,))).outcomes(LabelTask(0, structures()[0], melted, 0)))
    assert not np.allclose(frames[1].positions, usual[1].positions) and np.abs(frames[1].forces).max() > 0.1


def test_a_potential_labels_the_same_in_any_number_of_processes(tmp_path):
    torch = pytest.importorskip("torch")
    from gnnpot.cli.common import open_calculator
    from gnnpot.data.references import ElementReferences
    from gnnpot.hub.checkpoint import Card, read_card, save_checkpoint
    from gnnpot.models.m3gnet import M3GNet, M3GNetConfig
    from gnnpot.potential import Potential
    from gnnpot.sampling.labeller_names import describe

    torch.manual_seed(0)
    elements = ("Cu", "Al", "Au")
    model = M3GNet(M3GNetConfig(elements=elements, units=8, blocks=1, max_n=2, max_l=2, cutoff=4.0))
    potential = Potential(model, ElementReferences.from_mapping({"energies": dict.fromkeys(elements, -3.0)}))
    save_checkpoint(tmp_path / "model", potential, Card(name="tiny", functional="PBE"))
    make = functools.partial(open_calculator, str(tmp_path / "model"))
    name, functional = describe(str(tmp_path / "model"), make())
    assert name == f"tiny (sha256 {read_card(tmp_path / 'model')['weights_sha256']})" and functional == "PBE"
    config = LabelConfig((Original(), Rattled(), Melted(count=2, steps=3, temperature=300)))
    labeller = Labeller(make, name, functional)
    threads = torch.get_num_threads()
    one, two = (label(structures(), labeller, tmp_path / str(n), config, processes=n) for n in (1, 2))
    assert digests(one.folder) == digests(two.folder)
    assert one[0].provenance.functional == "PBE" and one[0].stress is not None
    assert torch.get_num_threads() == threads


class AsItIsAsked(Calculator):
    """Gives the properties that it is asked for and no others, as ASE allows."""

    implemented_properties: ClassVar = ["energy", "forces", "stress"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results |= {name: EMT().get_property(name, self.atoms) for name in properties}


def test_a_calculator_that_gives_what_it_is_asked_for(tmp_path):
    config = LabelConfig((Original(),))
    found, usual = (
        label(structures(), Labeller(kind, "EMT"), tmp_path / kind.__name__, config) for kind in (AsItIsAsked, EMT)
    )
    assert [frame.labels.keys() for frame in found] == [{"energy", "forces", "stress"}] * 3
    assert [frame.energy for frame in found] == [frame.energy for frame in usual]
