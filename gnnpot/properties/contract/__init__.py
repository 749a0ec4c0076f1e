"""Model contract: physical requirements on every potential, checked for any ASE calculator.

    report = check_contract(Calculator("path/to/checkpoint", dtype=torch.float64))
    report.passed, report.failures

The checks are defined in `contract.probes`; the bounds are in `Tolerances`, one set for each precision. For calculators
of gnnpot, results of a batch are also compared with those of its structures one by one.
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

#: names of all checks; the last two are for calculators of gnnpot only
CHECKS = (
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
    """Bounds of deviations, in the units of `contract.probes`; the defaults are for float64."""

    energy: float = 1e-8
    forces: float = 1e-7
    stress: float = 1e-8
    force_derivative: float = 1e-5
    stress_derivative: float = 1e-6
    energy_jump: float = 1e-6
    force_jump: float = 1e-4
    step: float = 1e-3  #: Å, step of numerical derivatives
    interval: float = 1e-7  #: Å, interval over which a remaining difference counts as a jump

    def bound(self, quantity: str) -> float:
        return getattr(self, quantity.replace(" ", "_"))


#: bounds for single precision, in which atomic energies have seven digits
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
    """One line of the report: the largest deviation of a quantity in a check of a structure."""

    name: str
    structure: str
    quantity: str
    measured: float
    bound: float
    unit: str
    status: Literal["passed", "known", "failed", "skipped"]
    detail: str = ""  #: reason for a skipped check or a known deviation, or the exception of the calculator


@dataclass(frozen=True, slots=True)
class ContractReport:
    """Results of all checks, in order of execution."""

    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(c for c in self.checks if c.status == "failed")

    @property
    def known(self) -> tuple[Check, ...]:
        """Checks with a known deviation of the potential."""
        return tuple(c for c in self.checks if c.status == "known")

    @property
    def passed(self) -> bool:
        """Whether no check failed, except for known deviations, and at least one passed."""
        return not self.failures and any(c.status == "passed" for c in self.checks)


def check_contract(
    calculator: AseCalculator,
    structures: Mapping[str, StructureLike] | Sequence[StructureLike] | None = None,
    *,
    elements: Sequence[str] | None = None,
    tolerances: Tolerances | None = None,
    known: Sequence[KnownDeviation] = (),
) -> ContractReport:
    """Run all checks on a calculator.

    Checks of properties that the calculator does not implement are skipped. If it raises an exception, the check fails.

    Args:
        calculator: Any ASE calculator.
        structures: Structures, with names or as a list; default: small structures of the first two `elements`.
        elements: Chemical symbols; default: the elements of a gnnpot calculator. Required for other calculators.
        tolerances: Bounds; default: those for the `dtype` of the calculator, or float64 if it has none.
        known: Known deviations; a failed check that deviates no more than these does not count as failed.

    Returns:
        Results of all checks, in order of execution.

    Raises:
        ConfigError: There are neither structures nor elements.
        DataError: An object is not a structure.
    """
    if tolerances is None:
        tolerances = FLOAT32 if getattr(calculator, "dtype", torch.float64) == torch.float32 else Tolerances()
    if structures is None:
        if elements is None and isinstance(calculator, Calculator):
            elements = calculator.elements
        if not elements:
            raise ConfigError("contract: there are no structures to check; give structures or elements")
        named = default_structures(elements)
    elif isinstance(structures, Mapping):
        named = {name: as_checked_atoms(structure) for name, structure in structures.items()}
    else:
        converted = [as_checked_atoms(structure) for structure in structures]
        named = {f"{k}: {atoms.get_chemical_formula()}": atoms for k, atoms in enumerate(converted)}
    probe = probes.Probe(calculator, tolerances.step, tolerances.interval, *reach(calculator))
    checks: list[Check] = []
    for name, structure, measure in _checks(calculator, probe, named):
        checks += (_or_known(check, known) for check in _run_check(name, structure, measure, tolerances))
        logger.debug("contract: %s, %s", name, structure)
    return ContractReport(tuple(checks))


def reach(calculator: AseCalculator) -> tuple[tuple[float, ...], float]:
    """Cutoffs of the calculator's models, and the distance up to which smoothness is checked; Å."""
    if not isinstance(calculator, Calculator):
        return (), 10.0
    models = (calculator.potential.model, *calculator.potential.terms)
    # a model that constructs its triplets itself has the three-body cutoff in its config only
    found = [getattr(getattr(m, "config", None), "three_body_cutoff", None) for m in models]
    found += [c for m in models for c in (m.cutoff, m.three_body_cutoff)]
    cutoffs = {c for c in found if c is not None}
    return tuple(sorted(cutoffs)), max(cutoffs) + 1.0


def _checks(
    calculator: AseCalculator, probe: probes.Probe, structures: Mapping[str, Atoms]
) -> Iterator[tuple[str, str, Callable[[], probes.Deviations]]]:
    """Yield the name, structure name and function of each check."""
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
    for name, measure in about_structures.items():
        for label, atoms in structures.items():
            yield name, label, partial(measure, probe, atoms)
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


def _run_check(
    name: str, structure: str, measure: Callable[[], probes.Deviations], tolerances: Tolerances
) -> Iterator[Check]:
    """Run one function, and yield a check with the largest deviation for each quantity."""
    largest: dict[str, float] = {}
    try:
        for quantity, measured in measure():
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
    """Return the check, with status `known` and the reason if it failed with a known deviation."""
    for deviation in known:
        if (
            check.status == "failed"
            and (check.name, check.quantity) == (deviation.check, deviation.quantity)
            and check.measured <= deviation.largest
        ):
            return replace(check, status="known", detail=deviation.reason)
    return check


def _batch(calculator: Calculator, structures: Sequence[Atoms]) -> probes.Deviations:
    """Results of a batch equal those of its structures calculated one by one."""
    potential = calculator.potential
    graphs = [potential.graph(atoms).to(potential.device) for atoms in structures]
    yield from _differences(potential(Batch.from_data_list(graphs)), [potential(g) for g in graphs])


def _cross_talk(calculator: Calculator, structures: Sequence[Atoms]) -> probes.Deviations:
    """Moving the atoms of one structure in a batch does not change the results of the others."""
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
