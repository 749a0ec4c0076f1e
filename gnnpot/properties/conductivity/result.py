"""Results of a conductivity study at several temperatures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnnpot.properties.conductivity.arrhenius import ArrheniusFit, fit_arrhenius
from gnnpot.properties.conductivity.displacements import Displacements
from gnnpot.properties.conductivity.msd import Estimate
from gnnpot.properties.conductivity.transport import Transport, conductivity_factor
from gnnpot.runs.files import write_text
from gnnpot.runs.json_text import to_json

#: K, to which conductivities are extrapolated
ROOM = 300.0


@dataclass(frozen=True, slots=True)
class Conductivity:
    """Transport at several temperatures, and Arrhenius fits to those that were sampled long enough and did not melt."""

    transports: tuple[Transport, ...]  #: sorted by temperature
    #: K, temperatures left out of both fits because their sampling is too short, or their framework diffuses
    left_out: tuple[float, ...]
    collective_left_out: tuple[float, ...]  #: K, temperatures left out of the fit of σ
    nernst_einstein: ArrheniusFit | None  #: fit of σ_NE T, mS/cm K; None for fewer than two temperatures
    collective: ArrheniusFit | None  #: fit of σ T, mS/cm K; None for fewer than two temperatures
    diffusion: ArrheniusFit | None = None  #: fit of D_tracer, cm²/s
    collective_diffusion: ArrheniusFit | None = None  #: fit of D_collective, cm²/s
    #: potential and options, as JSON values with units in the keys; empty if not known
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def melted(self) -> tuple[str, ...]:
        """Temperatures at which an element of the framework diffuses."""
        return tuple(f"{t.temperature:g} K: {reason}" for t in self.transports for reason in t.framework_verdict)

    @property
    def too_short(self) -> tuple[str, ...]:
        """Temperatures at which the sampling is too short, with reasons."""
        return tuple(
            f"{t.temperature:g} K: {reason}" for t in self.transports for reason in (*t.verdict, *t.collective_verdict)
        )

    @property
    def cautions(self) -> tuple[str, ...]:
        """What to consider at each temperature besides; it leaves none out."""
        return tuple(f"{t.temperature:g} K: {caution}" for t in self.transports for caution in t.cautions)

    @property
    def verdict(self) -> tuple[str, ...]:
        """All reasons for which temperatures are left out of a fit."""
        return (*self.melted, *self.too_short)

    def to_json(self) -> dict[str, Any]:
        """All fields, with units in the keys."""
        return {
            "conditions": dict(self.conditions),
            "runs": [t.to_json() for t in self.transports],
            "left_out_K": list(self.left_out),
            "left_out_of_collective_K": list(self.collective_left_out),
            "fits": {
                name: None if fit is None else fit_to_json(fit, of_diffusion)
                for name, fit, of_diffusion in (
                    ("nernst_einstein", self.nernst_einstein, self.diffusion),
                    ("collective", self.collective, self.collective_diffusion),
                )
            },
            "verdict": list(self.verdict),
            "cautions": list(self.cautions),
        }

    def save(self, path: Path) -> None:
        """Write a JSON file. Raises `DataError`."""
        write_text(path, to_json(self.to_json()) + "\n")

    def plot(self, path: Path) -> None:
        """Save an Arrhenius plot as PNG."""
        from gnnpot.properties.conductivity.pictures import draw_arrhenius

        draw_arrhenius(self).savefig(path)


def fit_to_json(fit: ArrheniusFit, of_diffusion: ArrheniusFit | None = None) -> dict[str, Any]:
    """Activation energy, conductivity and diffusion coefficient at 300 K, with intervals."""

    def interval(estimate: Estimate) -> dict[str, float]:
        return {"value": estimate.value, "low": estimate.low, "high": estimate.high}

    return {
        "temperatures_K": list(fit.temperatures),
        "Ea_eV": interval(fit.activation_energy),
        "sigma_300K_mS_cm": interval(fit.at(ROOM)),
        "D_300K_cm2_s": None if of_diffusion is None else interval(of_diffusion.at(ROOM)),
        "chi2_per_freedom": fit.scatter,
    }


def conclude(transports: list[Transport], charge: float, conditions: Mapping[str, Any] | None = None) -> Conductivity:
    """Fit the temperatures that can be fitted, separately for tracer and collective coefficients.

    Args:
        transports: Results at each temperature.
        charge: Charge of the ion, in units of the elementary charge.
        conditions: Potential and options, as JSON values.
    """
    ordered = sorted(transports, key=lambda t: t.temperature)
    of_tracer = [t for t in ordered if t.sufficient]
    of_collective = [t for t in ordered if t.collective_sufficient]
    return Conductivity(
        transports=tuple(ordered),
        left_out=tuple(t.temperature for t in ordered if not t.sufficient),
        collective_left_out=tuple(t.temperature for t in ordered if not t.collective_sufficient),
        nernst_einstein=_fit(of_tracer, "tracer", charge),
        collective=_fit(of_collective, "collective", charge),
        diffusion=_fit(of_tracer, "tracer", None),
        collective_diffusion=_fit(of_collective, "collective", None),
        conditions=conditions or {},
    )


def _fit(fitted: list[Transport], name: str, charge: float | None) -> ArrheniusFit | None:
    """Fit one of the two coefficients or, with a charge, its conductivity; None for fewer than two temperatures."""
    if len(fitted) < 2:
        return None
    temperatures = [t.temperature for t in fitted]
    if charge is None:
        return fit_arrhenius(temperatures, [getattr(t, f"{name}_samples") for t in fitted], of_product=False)
    factors = [conductivity_factor(t.ions, t.volume, t.temperature, charge) for t in fitted]
    samples = [f * getattr(t, f"{name}_samples") for f, t in zip(factors, fitted, strict=True)]
    return fit_arrhenius(temperatures, samples, of_product=True)


@dataclass(frozen=True, slots=True)
class Study:
    """Result of a study, with the displacements that it was calculated from."""

    result: Conductivity
    displacements: tuple[Displacements, ...]  #: sorted by temperature
    repeats: tuple[int, int, int]  #: repeats of the structure in the simulated cell
