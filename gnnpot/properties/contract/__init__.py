"""The model contract: what every potential must keep, measured on any ASE calculator.

    report = check_contract(Calculator("path/to/checkpoint", dtype=torch.float64))
    report.passed, report.failures

What is measured is said in `contract.probes`; the bounds are in `Tolerances`, one set for each precision. A calculator
of a gnnpot potential is also asked whether a batch gives what its structures give one by one.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator as AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError
from torch_geometric.data import Batch

from gnnpot.data.structures import StructureLike, as_checked_atoms
from gnnpot.engines.calculator import Calculator
from gnnpot.errors import ConfigError
from gnnpot.hub.card import KnownDeviation
from gnnpot.properties.contract import probes
from gnnpot.properties.contract.structures import default_structures

logger = logging.getLogger(__name__)

#: names of all checks; the last two are asked of a gnnpot calculator only
QUESTIONS = (
    "rotation", "reflection", "translation", "permutation", "repetition", "supercell", "choice of cell",
    "forces = -dE/dr", "stress = dE/dε/V", "isolated atom", "separated atoms", "smooth dimer", "smooth cluster",
    "batch = single", "no cross-talk",
)  # fmt: skip

_UNITS = {
    "energy": "eV/atom",
    "forces": "eV/Å",
    "stress": "eV/Å³",
    "force derivative": "eV/Å",
    "stress derivative": "eV/Å³",
    "energy jump": "eV",
    "force jump": "eV/Å",
}


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How far from exact a calculator may be, in the units of `contract.probes`; the defaults are for float64."""

    energy: float = 1e-8
    forces: float = 1e-7
    stress: float = 1e-8
    force_derivative: float = 1e-5
    stress_derivative: float = 1e-6
    energy_jump: float = 1e-6
    force_jump: float = 1e-4
    step: float = 1e-3  #: Å, of numeric derivatives
    interval: float = 1e-7  #: Å, at which a difference that is left is a jump

    def bound(self, quantity: str) -> float:
        return getattr(self, quantity.replace(" ", "_"))


#: single precision: seven digits of the energies of atoms
FLOAT32 = Tolerances(
    energy=2e-5,
    forces=1e-3,
    stress=1e-4,
    force_derivative=3e-2,
    stress_derivative=3e-3,
    energy_jump=1e-3,
    force_jump=3e-2,
    step=2e-2,
    interval=1e-4,
)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report: the largest deviation of one quantity under one question on one structure."""

    name: str
    structure: str
    quantity: str
    measured: float
    bound: float
    unit: str
    status: Literal["passed", "known", "failed", "skipped"]
    detail: str = ""  #: why it was skipped or is known to deviate, or what the calculator raised


@dataclass(frozen=True, slots=True)
class ContractReport:
    """All checks, in the order in which they were made."""

    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(c for c in self.checks if c.status == "failed")

    @property
    def known(self) -> tuple[Check, ...]:
        """Deviations that the potential is known for."""
        return tuple(c for c in self.checks if c.status == "known")

    @property
    def passed(self) -> bool:
        """Whether nothing failed but what is known, and something was checked."""
        return not self.failures and any(c.status == "passed" for c in self.checks)


def check_contract(
    calculator: AseCalculator,
    structures: Mapping[str, StructureLike] | Sequence[StructureLike] | None = None,
    *,
    elements: Sequence[str] | None = None,
    tolerances: Tolerances | None = None,
    known: Sequence[KnownDeviation] = (),
) -> ContractReport:
    """Ask `calculator` everything, about `structures` or, without any, about small ones of the first two `elements`.

    What a calculator does not implement is skipped; what it raises is a failed check.

    Args:
        calculator: Any ASE calculator.
        structures: By name, or a list; by default small ones of the first two `elements`.
        elements: Symbols; by default those that a gnnpot calculator knows. Other calculators don't say.
        tolerances: By default those of the calculator's `dtype`, float64 where it has none.
        known: Deviations that do not count as failed where they are not larger.

    Returns:
        All checks, in the order in which they were made.

    Raises:
        ConfigError: There are neither structures nor elements.
        DataError: An object is no structure.
    """
    if tolerances is None:
        tolerances = FLOAT32 if getattr(calculator, "dtype", torch.float64) == torch.float32 else Tolerances()
    if structures is None:
        if elements is None and isinstance(calculator, Calculator):
            elements = calculator.elements
        if not elements:
            raise ConfigError("the contract needs structures to look at: give structures or elements")
        named = default_structures(elements)
    elif isinstance(structures, Mapping):
        named = {name: as_checked_atoms(structure) for name, structure in structures.items()}
    else:
        converted = [as_checked_atoms(structure) for structure in structures]
        named = {f"{k}: {atoms.get_chemical_formula()}": atoms for k, atoms in enumerate(converted)}
    probe = probes.Probe(calculator, tolerances.step, tolerances.interval, *reach(calculator))
    checks: list[Check] = []
    for name, structure, question in _questions(calculator, probe, named):
        checks += (_or_known(check, known) for check in _ask(name, structure, question, tolerances))
        logger.debug("contract: %s, %s", name, structure)
    return ContractReport(tuple(checks))


def reach(calculator: AseCalculator) -> tuple[tuple[float, ...], float]:
    """Distances to look at closely, and the distance to which atoms are pulled apart."""
    if not isinstance(calculator, Calculator):
        return (), 10.0
    models = (calculator.potential.model, *calculator.potential.terms)
    # a model that makes its triplets itself says their reach in its config only
    found = [getattr(getattr(m, "config", None), "three_body_cutoff", None) for m in models]
    found += [c for m in models for c in (m.cutoff, m.three_body_cutoff)]
    cutoffs = {c for c in found if c is not None}
    return tuple(sorted(cutoffs)), max(cutoffs) + 1.0


def _questions(
    calculator: AseCalculator, probe: probes.Probe, structures: Mapping[str, Atoms]
) -> Iterator[tuple[str, str, Callable[[], probes.Deviations]]]:
    """(name, structure's name, question) of all that is asked."""
    about_structures = {
        "rotation": probes.rotation,
        "reflection": probes.reflection,
        "translation": probes.translation,
        "permutation": probes.permutation,
        "repetition": probes.repetition,
        "supercell": probes.supercell,
        "choice of cell": probes.choice_of_cell,
        "forces = -dE/dr": probes.forces_are_derivatives,
        "stress = dE/dε/V": probes.stress_is_derivative,
    }
    for name, question in about_structures.items():
        for label, atoms in structures.items():
            yield name, label, partial(question, probe, atoms)
    symbols = list(dict.fromkeys(s for atoms in structures.values() for s in atoms.get_chemical_symbols()))
    for symbol in symbols:
        yield "isolated atom", symbol, partial(probes.isolated_atom, probe, symbol)
    first, second = symbols[0], symbols[min(1, len(symbols) - 1)]
    for a, b in dict.fromkeys([(first, first), (first, second)]):
        yield "separated atoms", f"{a}-{b}", partial(probes.separation, probe, a, b)
        yield "smooth dimer", f"{a}-{b}", partial(probes.smooth_dimer, probe, a, b)
    yield "smooth cluster", f"{first}2{second}2", lambda: probes.smooth_cluster(probe, first, second)
    if isinstance(calculator, Calculator):
        everything = list(structures.values())
        yield "batch = single", "all together", lambda: _batch(calculator, everything)
        yield "no cross-talk", "all together", lambda: _cross_talk(calculator, everything)


def _ask(
    name: str, structure: str, question: Callable[[], probes.Deviations], tolerances: Tolerances
) -> Iterator[Check]:
    """The checks of one question: the largest deviation of each quantity."""
    largest: dict[str, float] = {}
    try:
        for quantity, measured in question():
            measured = measured if measured == measured else float("inf")
            largest[quantity] = max(measured, largest.get(quantity, 0.0))
    except (PropertyNotImplementedError, NotImplementedError) as error:
        yield Check(name, structure, "", 0.0, 0.0, "", "skipped", f"not implemented: {error}")
    except Exception as error:  # noqa: BLE001 - a calculator may raise anything, and that is the finding
        yield Check(name, structure, "", float("inf"), 0.0, "", "failed", f"{type(error).__name__}: {error}")
    for quantity, measured in largest.items():
        bound = tolerances.bound(quantity)
        holds = measured <= bound
        yield Check(name, structure, quantity, measured, bound, _UNITS[quantity], "passed" if holds else "failed")


def _or_known(check: Check, known: Sequence[KnownDeviation]) -> Check:
    """The check, with the reason if its failure is a deviation that is known."""
    for deviation in known:
        if (
            check.status == "failed"
            and (check.name, check.quantity) == (deviation.check, deviation.quantity)
            and check.measured <= deviation.largest
        ):
            return replace(check, status="known", detail=deviation.reason)
    return check


def _batch(calculator: Calculator, structures: Sequence[Atoms]) -> probes.Deviations:
    """A batch of structures gives what each gives by itself."""
    potential = calculator.potential
    graphs = [potential.graph(atoms).to(potential.device) for atoms in structures]
    yield from _differences(potential(Batch.from_data_list(graphs)), [potential(g) for g in graphs])


def _cross_talk(calculator: Calculator, structures: Sequence[Atoms]) -> probes.Deviations:
    """Moving the atoms of one structure of a batch changes nothing in the others."""
    potential = calculator.potential
    rattled = structures[0].copy()
    rattled.rattle(0.1, seed=3)
    others = [potential.graph(atoms).to(potential.device) for atoms in (structures[1:] or structures[:1])]
    first, second = (potential.graph(atoms).to(potential.device) for atoms in (structures[0], rattled))
    before = potential(Batch.from_data_list([first, *others]))
    after = potential(Batch.from_data_list([second, *others]))
    atoms = slice(len(structures[0]), None)
    yield "energy", float((after.energy - before.energy)[1:].abs().max())
    yield "forces", float((after.forces - before.forces)[atoms].abs().max())


def _differences(together: Any, alone: Sequence[Any]) -> probes.Deviations:
    n_atoms = torch.tensor([len(p.energies) for p in alone], device=together.energy.device)
    yield "energy", float(((together.energy - torch.cat([p.energy for p in alone])) / n_atoms).abs().max())
    forces = torch.cat([p.forces for p in alone])
    yield "forces", float((together.forces - forces).abs().max() / max(1.0, float(forces.abs().max())))
    stress = torch.cat([p.stress for p in alone])
    yield "stress", float((together.stress - stress).nan_to_num(0.0).abs().max())
