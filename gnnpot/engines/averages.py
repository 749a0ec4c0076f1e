"""Running averages and energy drift of a run, in constant memory; a resumed run gives the same numbers."""

from dataclasses import asdict, dataclass
from typing import Any

from gnnpot.engines.md_config import MDSample


@dataclass(slots=True)
class Averages:
    """Running means of samples, and the slope of the conserved energy by Welford's updates.

    With n samples, dt = t_n - mean(t) before the update and c the conserved energy:
    S_tt += dt (t_n - mean(t)),  S_tc += dt (c_n - mean(c)),  slope = S_tc / S_tt.
    """

    count: int = 0
    temperature: float = 0.0
    potential: float = 0.0
    volume: float = 0.0
    time: float = 0.0
    conserved: float = 0.0
    time_square: float = 0.0
    time_conserved: float = 0.0
    pressure: float = 0.0
    pressure_count: int = 0  #: number of samples in the mean of the pressure
    reference: float = 0.0  #: eV, the first conserved energy, subtracted from all others to reduce rounding errors

    def add(self, sample: MDSample) -> None:
        """Add a sample."""
        if self.count == 0:
            self.reference = sample.conserved
        self.count += 1
        self.temperature += (sample.temperature - self.temperature) / self.count
        self.potential += (sample.potential - self.potential) / self.count
        if sample.volume is not None:
            self.volume += (sample.volume - self.volume) / self.count
        step = sample.time - self.time
        self.time += step / self.count
        self.conserved += (sample.conserved - self.reference - self.conserved) / self.count
        self.time_square += step * (sample.time - self.time)
        self.time_conserved += step * (sample.conserved - self.reference - self.conserved)

    def add_pressure(self, sample: MDSample) -> None:
        """Add the pressure of a sample, if it has one."""
        if sample.pressure is not None:
            self.pressure_count += 1
            self.pressure += (sample.pressure - self.pressure) / self.pressure_count

    def drift(self, atoms: int) -> float:
        """Slope of the conserved energy in eV per atom and ps; NaN for fewer than three samples."""
        if self.count < 3:
            return float("nan")
        return 1000 * self.time_conserved / self.time_square / atoms

    def state(self) -> dict[str, Any]:
        return asdict(self)
