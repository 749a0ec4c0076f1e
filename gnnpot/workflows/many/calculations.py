"""Calculations for many structures; each gives a row of the table and a structure.

A value of a row is a number, a string, a boolean or a list of numbers; its name contains the unit.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from gnnpot.config import to_mapping
from gnnpot.engines.constraints import fix_atoms
from gnnpot.engines.fresh import fresh
from gnnpot.engines.relax import RelaxConfig, relax, with_results
from gnnpot.errors import ConfigError
from gnnpot.properties.options import arguments_of, digests_of_files, read_options
from gnnpot.properties.registry import find_property

#: result for one structure: row of the table, and structure
Found = tuple[dict[str, Any], Atoms]


class Calculation(Protocol):
    """Protocol of a calculation with its options, which is sent to the workers."""

    @property
    def name(self) -> str:
        """Name of the calculations, for messages and progress, such as "relaxations"."""

    @property
    def max_atoms(self) -> int:
        """Largest number of atoms in a batch of structures; 0: structures are computed one by one."""

    def identity(self) -> dict[str, Any]:
        """Options, as values for JSON."""

    def __call__(self, structures: Sequence[Atoms], calculator: BaseCalculator) -> Iterator[Found]:
        """Yield row and structure of each. Raises an exception for a structure that can't be computed."""


@dataclass(frozen=True)
class Relaxing:
    """Relaxation of each structure."""

    config: RelaxConfig = field(default_factory=RelaxConfig)
    fix: str | None = None  #: fixed atoms, see `engines.constraints.fix_atoms`

    name = "relaxations"
    max_atoms = 0

    def identity(self) -> dict[str, Any]:
        """Options, as values for JSON."""
        return {**to_mapping(self.config), "fix": self.fix}

    def __call__(self, structures: Sequence[Atoms], calculator: BaseCalculator) -> Iterator[Found]:
        for atoms in structures:
            if self.fix:
                fix_atoms(atoms, self.fix)
            found = relax(atoms, fresh(calculator), self.config)
            if found.interrupted:
                raise KeyboardInterrupt
            row = {
                "converged": bool(found.converged),
                "steps": found.steps,
                "energy_eV": found.energy,
                "initial_energy_eV": found.initial_energy,
                "largest_force_eV_per_A": found.fmax,
                "largest_stress_eV_per_A3": found.stress_max,
                "volume_A3": found.volume,
                "initial_volume_A3": found.initial_volume,
                "relaxed_cell": found.relaxed_cell.described,
            }
            yield row, found.atoms


@dataclass(frozen=True)
class Predicting:
    """Energy, forces and stress of each structure; potentials of gnnpot predict them in batches."""

    stress: bool = True
    max_atoms: int = 512

    name = "predictions"

    def identity(self) -> dict[str, Any]:
        """Options, as values for JSON."""
        return {"stress": self.stress, "max_atoms": self.max_atoms}

    def __call__(self, structures: Sequence[Atoms], calculator: BaseCalculator) -> Iterator[Found]:
        for atoms in self._predicted(structures, calculator):
            found = atoms.calc.results
            stress = found.get("stress")
            row = {
                "energy_eV": float(found["energy"]),
                "largest_force_eV_per_A": float(np.linalg.norm(found["forces"], axis=1).max()),
                "stress_eV_per_A3": None if stress is None else np.asarray(stress).tolist(),
            }
            yield row, atoms

    def _predicted(self, structures: Sequence[Atoms], calculator: BaseCalculator) -> Iterator[Any]:
        potential = getattr(calculator, "potential", None)
        if potential is not None:
            # imported here, as it imports PyTorch, which other calculators do not need
            from gnnpot.engines.predict import predict_batch

            yield from predict_batch(potential, list(structures), self.stress)
            return
        for atoms in structures:
            atoms.calc = fresh(calculator)
            found = with_results(atoms)
            if not self.stress:
                found.calc.results.pop("stress", None)
            yield found


@dataclass(frozen=True)
class PropertyOf:
    """Property of each structure.

    Args:
        name: Name of the property, see `properties.registry.property_names`.
        given: Options of the property, as for `properties.options.read_options`.

    Raises:
        ConfigError: There is no such property or option, or it is not a property of a single structure.
    """

    name: str
    given: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(init=False, repr=False)  #: arguments of the property's function `calc`
    needs_calculator: bool = field(init=False)

    max_atoms = 0

    def __post_init__(self) -> None:
        calc = find_property(self.name).calc
        arguments = arguments_of(calc)
        if arguments.takes_path or arguments.takes_trajectory:
            raise ConfigError(f"{self.name}: is a property of a whole file, not of each of its structures")
        object.__setattr__(self, "needs_calculator", arguments.needs_calculator)
        object.__setattr__(self, "values", read_options(calc, self.given, where=f"property {self.name}"))

    def identity(self) -> dict[str, Any]:
        """Options, as values for JSON, and hashes of the files among them."""
        files = digests_of_files(find_property(self.name).calc, self.given, where=f"property {self.name}")
        return dict(self.given) | ({"option_files_sha256": files} if files else {})

    def __call__(self, structures: Sequence[Atoms], calculator: BaseCalculator) -> Iterator[Found]:
        calc: Any = find_property(self.name).calc
        for atoms in structures:
            needed = (fresh(calculator),) if self.needs_calculator else ()
            result = calc(atoms, *needed, **self.values).to_json()
            row = {name: value for name, value in result.items() if isinstance(value, (bool, int, float, str))}
            yield {**row, "result_json": json.dumps(result)}, atoms
