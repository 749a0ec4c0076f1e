"""Calculator that logs its results, so that an interrupted sequence of calculations can be resumed.

    with ResultsLog(folder, plan, "phonons") as log:
        calculator = RecordedCalculator(Calculator("7net-0"), log)
        # the same calculations again are read from the log

Optimisers and finite differences request exactly the same structures, to the last bit, when they are run again; results
from before the interruption are read from the log. Structures are identified by atomic numbers, positions, cell,
periodicity, and initial magnetic moments and charges.
"""

import hashlib
import io
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators import calculator as ase_calculator

from gnnpot.runs.results_log import ResultsLog

#: results that are logged, if the calculator has them
_PROPERTIES = ("energy", "free_energy", "energies", "forces", "stress", "magmoms", "magmom")


class RecordedCalculator(ase_calculator.Calculator):
    """Returns the results of `calculator`, read from `log` if it contains them.

    Args:
        calculator: Any ASE calculator; all of its results for a structure are logged at once.
        log: Open log, used for this calculator only.
    """

    def __init__(self, calculator: ase_calculator.BaseCalculator, log: ResultsLog) -> None:
        super().__init__()
        self.calculator, self.log = calculator, log
        self.implemented_properties = [p for p in _PROPERTIES if p in calculator.implemented_properties]
        self._places: dict[int, dict[str, Any]] = {_task(content): _results(content) for content in log.contents()}
        self.calculated = 0  #: number of structures that were not in the log

    @property
    def name(self) -> str:
        return str(getattr(self.calculator, "name", type(self.calculator).__name__))

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Parameters of `calculator`."""
        return self.calculator.todict()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = ase_calculator.all_changes,
    ) -> None:
        """Calculate properties or read them from the log; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        if self.atoms is None:
            raise ValueError("there is no structure to calculate")
        key, wanted = _key(self.atoms), properties or ["energy"]
        found = self._places.get(key)
        if found is None or any(name not in found for name in wanted):
            for name in wanted:
                self.calculator.get_property(name, self.atoms)
            found = {name: self.calculator.results[name] for name in _PROPERTIES if name in self.calculator.results}
            self.log.add(key, _content(key, found))
            self._places[key] = found
            self.calculated += 1
        self.results = {name: np.copy(value) if np.ndim(value) else float(value) for name, value in found.items()}


def _key(atoms: Atoms) -> int:
    """Hash of a structure, 63 bits; two structures have the same hash with a probability of about 10^-19."""
    digest = hashlib.sha256()
    moments, charges = atoms.get_initial_magnetic_moments(), atoms.get_initial_charges()
    for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, moments, charges):
        digest.update(np.ascontiguousarray(array).tobytes())
    return int.from_bytes(digest.digest()[:8], "little") >> 1


def _content(key: int, results: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in results.items()}
    np.savez(buffer, key=np.array(key), **arrays)
    return buffer.getvalue()


def _task(content: bytes) -> int:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return int(arrays["key"])


def _results(content: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files if name != "key"}
