"""Voltage of an intercalation electrode relative to the metal of its ion.

    result = calc(lithiated, calculator, VoltageConfig(ion="Li"))
    result.voltage, result.capacity

The mean voltage between a host with n ions in the cell and the same host with m < n ions is

    V = -[ E(n) - E(m) - (n - m) e_metal ] / ((n - m) z),                                                       (1)

with the charge z of the ion and the energy per atom e_metal of its metal. Entropy and pressure are neglected. Cells and
positions are relaxed. If no other structures are given, all ions are removed in one step.

Source: Aydinol, Kohan, Ceder, Cho and Joannopoulos, Phys. Rev. B 56, 1354 (1997).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator

from gnnpot.data.structures import StructureLike
from gnnpot.domains import POSITIVE, check_fields
from gnnpot.errors import ConfigError, DataError
from gnnpot.properties.relaxed import crystal_of, energy_of, relaxed
from gnnpot.runs.progress import Progress, no_progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Faraday constant, mAh/mol
MAH_PER_MOLE = 26801.4814
#: default charges of ions, e
CHARGES = {"Li": 1, "Na": 1, "K": 1, "Rb": 1, "Cs": 1, "Mg": 2, "Ca": 2, "Zn": 2, "Sr": 2, "Ba": 2, "Al": 3, "Y": 3}


@dataclass(frozen=True, slots=True)
class VoltageStep:
    """Voltage between two ion contents."""

    low: float  #: ions per formula unit of the host in the charged state
    high: float  #: ions per formula unit of the host in the discharged state
    voltage: float  #: V, relative to the metal


@dataclass(frozen=True, eq=False)
class Voltage:
    """Voltage, capacity and energies of an electrode, per formula unit of its host."""

    host: str  #: formula of the host
    ion: str  #: element of the ion
    charge: int  #: charge z of the ion, e
    metal_energy: float  #: eV/atom, e_metal
    contents: np.ndarray  #: [C] ions per formula unit of the host on the convex hull, ascending
    energies: np.ndarray  #: [C] eV per formula unit of the host
    volumes: np.ndarray  #: [C] Å³ per formula unit of the host
    unstable: tuple[float, ...]  #: contents of electrodes above the convex hull, which are not part of the steps
    unstable_energies: tuple[float, ...]  #: eV per formula unit of the host
    steps: tuple[VoltageStep, ...]  #: sorted by content
    capacity: float  #: mAh per gram of the discharged electrode

    @property
    def voltage(self) -> float:
        """Mean voltage over all steps, V."""
        charge = [s.high - s.low for s in self.steps]
        return float(np.average([s.voltage for s in self.steps], weights=charge))

    @property
    def volume_change(self) -> float:
        """Relative volume change, (V_discharged - V_charged) / V_charged."""
        return float(self.volumes[-1] / self.volumes[0] - 1)

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys."""
        return {
            "host": self.host,
            "ion": self.ion,
            "charge": self.charge,
            "voltage_V": self.voltage,
            "capacity_mAh_g": self.capacity,
            "specific_energy_Wh_kg": self.voltage * self.capacity,
            "volume_change": self.volume_change,
            "metal_energy_eV": self.metal_energy,
            "contents": self.contents.tolist(),
            "energies_eV": self.energies.tolist(),
            "volumes_A3": self.volumes.tolist(),
            "unstable_contents": list(self.unstable),
            "unstable_energies_eV": list(self.unstable_energies),
            "steps": [{"low": s.low, "high": s.high, "voltage_V": s.voltage} for s in self.steps],
        }

    def plot(self, path: Path) -> None:
        """Save a plot of voltage over content and, for more than two electrodes, formation energies, as PNG."""
        from gnnpot.runs.pages import COLORS, new_figure, tidy

        several = len(self.contents) + len(self.unstable) > 2
        figure = new_figure(2 if several else 1)
        axes = figure.add_subplot(1, 2 if several else 1, 1)
        x = [edge for s in self.steps for edge in (s.low, s.high)]
        y = [v for s in self.steps for v in (s.voltage, s.voltage)]
        axes.plot(x, y, color=COLORS[0], linewidth=2, label="by steps")
        axes.axhline(self.voltage, color="black", linewidth=0.8, linestyle=":", label=f"mean, {self.voltage:.2f} V")
        axes.set(
            xlabel=f"x in {self.ion}$_x${self.host}", ylabel=f"voltage against {self.ion}, V",
            title=f"{self.ion}–{self.host}, {self.capacity:.0f} mAh/g",
        )  # fmt: skip
        axes.margins(y=0.2)
        axes.legend(frameon=False, fontsize=8)
        tidy(axes)
        if several:
            self._draw_hull(figure.add_subplot(1, 2, 2))
        figure.savefig(path)

    def _draw_hull(self, axes: "Axes") -> None:
        """Draw the energies of electrodes relative to the line between the charged and the discharged one."""
        from gnnpot.runs.pages import COLORS, tidy

        def formation(contents: Sequence[float], energies: Sequence[float]) -> np.ndarray:
            ends = np.interp(contents, self.contents[[0, -1]], self.energies[[0, -1]])
            return 1000 * (np.asarray(energies) - ends)

        values = formation(list(self.contents), list(self.energies))
        axes.plot(self.contents, values, "o-", color=COLORS[0], markersize=5, label="convex hull")
        if self.unstable:
            above = formation(self.unstable, self.unstable_energies)
            axes.plot(self.unstable, above, "s", color=COLORS[4], markerfacecolor="white", label="above it")
        axes.axhline(0, color="black", linewidth=0.7)
        axes.set(
            xlabel=f"x in {self.ion}$_x${self.host}", ylabel=f"formation energy, meV per {self.host}",
            title="Electrodes",
        )  # fmt: skip
        axes.legend(frameon=False, fontsize=8)
        tidy(axes)


@dataclass(frozen=True, slots=True)
class VoltageConfig:
    """Options of `calc`.

    Args:
        ion: Element of the intercalated ion.
        charge: Charge of the ion, e; default: the usual charge of the element.
        metal: Structure of the metal of the ion; default: ASE's crystal structure of the element.
        others: Structures of partly and fully charged electrodes; default: the discharged one with all ions removed.
        relax: Relax cells and positions; otherwise use the given structures.
        fmax: eV/Å, convergence threshold of the largest force.
    """

    ion: str = "Li"
    charge: int | None = None
    metal: StructureLike | None = None
    others: Sequence[StructureLike] = ()
    relax: bool = True
    fmax: Annotated[float, POSITIVE] = 0.02

    def __post_init__(self) -> None:
        check_fields(self)


def calc(
    atoms: StructureLike,
    calculator: BaseCalculator,
    config: VoltageConfig | None = None,
    *,
    progress: Progress = no_progress,
) -> Voltage:
    """Calculate the voltage of an electrode.

    Args:
        atoms: Discharged electrode, with its ions.
        calculator: Any ASE calculator.
        config: Options; default: `VoltageConfig()`.
        progress: Called with the number of structures done.

    Returns:
        Ion contents on the convex hull, the voltage (V) of each step between them, and the capacity.

    Raises:
        ConfigError: The electrode does not contain the ion, or the charge or metal of the ion is not known.
        DataError: A structure has another host, or is not a crystal.
        SimulationError: A relaxation fails.
    """
    config = config or VoltageConfig()
    ion, metal, others = config.ion, config.metal, config.others
    discharged = crystal_of(atoms, "voltage")
    if ion not in discharged.symbols or (discharged.symbols == ion).all():
        raise ConfigError(f"ion: {discharged.get_chemical_formula()} is no host with {ion}; name the ion")
    if config.charge is None and ion not in CHARGES:
        raise ConfigError(f"charge: that of {ion} is not known; give it")
    bare = discharged[[a.index for a in discharged if a.symbol != ion]]
    electrodes = [discharged, *(crystal_of(o, "voltage") for o in others)] if others else [discharged, bare]
    name, per_host = _host(bare)
    contents = [_content(electrode, ion, per_host) for electrode in electrodes]
    crystals = [*electrodes, crystal_of(metal, "voltage") if metal is not None else _metal_of(ion)]
    energies, volumes = [], []
    for k, crystal in enumerate(crystals):
        progress("voltage: structures", k, len(crystals))
        if config.relax:
            crystal = relaxed(crystal, calculator, cell="full", fmax=config.fmax, what=f"voltage: {crystal.symbols}")
        energies.append(energy_of(crystal, calculator))
        volumes.append(crystal.get_volume())
    progress("voltage: structures", len(crystals), len(crystals))
    units = np.array([_units(electrode, ion, per_host) for electrode in electrodes])
    return _result(
        name, ion, config.charge or CHARGES[ion], energies[-1] / len(crystals[-1]),
        np.array(contents), np.array(energies[:-1]) / units, np.array(volumes[:-1]) / units,
        float(discharged.get_masses().sum() / units[0]),
    )  # fmt: skip


def _metal_of(ion: str) -> Atoms:
    """ASE's crystal structure of an element. Raises `ConfigError` if there is none."""
    try:
        return bulk(ion)
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        raise ConfigError(f"metal: ASE has no crystal of {ion} ({error}); give its structure") from None


def _host(bare: Atoms) -> tuple[str, dict[str, int]]:
    """Formula of a host, and number of atoms of each element in its formula unit."""
    formula = bare.symbols.formula.reduce()[0]
    return str(formula.convert("metal")), formula.count()


def _units(electrode: Atoms, ion: str, per_host: dict[str, int]) -> float:
    """Number of formula units of the host in an electrode. Raises `DataError` if the host is different."""
    counts = electrode.symbols.formula.count()
    counts.pop(ion, None)
    ratios = {counts.get(e, 0) / n for e, n in per_host.items()}
    if set(counts) != set(per_host) or max(ratios) - min(ratios) > 1e-9:
        raise DataError(f"others: {electrode.get_chemical_formula()} has another host; give electrodes of one host")
    return float(ratios.pop())


def _content(electrode: Atoms, ion: str, per_host: dict[str, int]) -> float:
    return float((electrode.symbols == ion).sum() / _units(electrode, ion, per_host))


def _result(
    host: str, ion: str, charge: int, metal: float,
    contents: np.ndarray, energies: np.ndarray, volumes: np.ndarray, mass: float,
) -> Voltage:  # fmt: skip
    order = np.argsort(contents, kind="stable")
    if len(np.unique(np.round(contents, 9))) < 2:
        raise DataError("others: all electrodes have the same content of the ion; give a charged one")
    hull: list[int] = []
    for k in order:
        # the lower convex hull of energy against content
        while hull and contents[hull[-1]] == contents[k] and energies[hull[-1]] >= energies[k]:
            hull.pop()
        if hull and contents[hull[-1]] == contents[k]:
            continue
        while len(hull) > 1 and _slope(contents, energies, hull[-2], hull[-1]) >= _slope(
            contents, energies, hull[-2], k
        ):
            hull.pop()
        hull.append(int(k))
    steps = tuple(
        VoltageStep(float(contents[a]), float(contents[b]), float((metal - _slope(contents, energies, a, b)) / charge))
        for a, b in pairwise(hull)
    )
    moved = contents[hull[-1]] - contents[hull[0]]
    return Voltage(
        host=host,
        ion=ion,
        charge=charge,
        metal_energy=metal,
        contents=contents[hull],
        energies=energies[hull],
        volumes=volumes[hull],
        unstable=tuple(float(contents[k]) for k in order if k not in hull),
        unstable_energies=tuple(float(energies[k]) for k in order if k not in hull),
        steps=steps,
        capacity=float(moved * charge * MAH_PER_MOLE / mass),
    )


def _slope(x: np.ndarray, y: np.ndarray, a: int, b: int) -> float:
    return float((y[b] - y[a]) / (x[b] - x[a]))
