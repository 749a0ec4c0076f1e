"""Stress conventions of files, and their conversion to the convention of gnnpot.

    StressConvention.parse("vasp-kbar").to_stress([10, 10, 10, 0, 0, 0])      # -0.0062 eV/Å³ each

| preset      | unit     | positive sign means | order of six numbers | used by                                        |
|-------------|----------|---------------------|----------------------|------------------------------------------------|
| `ase`       | eV/Å³    | tension             | xx yy zz yz xz xy    | ASE, extended XYZ `stress`, GPAW               |
| `vasp-kbar` | kbar     | compression         | xx yy zz xy yz zx    | VASP OUTCAR, vasprun.xml, MPtrj, CHGNet        |
| `gpa`       | GPa      | tension             | xx yy zz yz xz xy    | MatterSim, matgl                               |
| `virial`    | eV       | compression         | xx yy zz yz xz xy    | extended XYZ `virial`, DeepMD, -dE/dε          |
| `lammps`    | bar      | compression         | xx yy zz xy xz yz    | LAMMPS `pxx pyy pzz pxy pxz pyz`, units metal  |
| `espresso`  | Ry/Bohr³ | compression         | xx yy zz yz xz xy    | Quantum ESPRESSO `pw.x`                        |

Nine numbers are a 3x3 tensor, independent of the order; off-diagonal pairs are averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnnpot.errors import DataError, suggest
from gnnpot.units import BOHR, GPA, HARTREE, KBAR, RYDBERG, stress_to_voigt

#: value of each unit in eV/Å³; a virial, in eV, is also divided by the cell volume
UNITS: dict[str, float] = {
    "eV/Å³": 1.0,
    "GPa": GPA,
    "kbar": KBAR,
    "bar": KBAR / 1000,
    "Ha/Bohr³": HARTREE / BOHR**3,
    "Ry/Bohr³": RYDBERG / BOHR**3,
    "eV": 1.0,
}
_SPELLINGS = {
    **{name.lower(): name for name in UNITS},
    **dict.fromkeys(("ev/a3", "ev/a^3", "ev/a**3", "ev/ang^3", "ev/å^3", "ev/angstrom^3"), "eV/Å³"),
    **dict.fromkeys(("ha/bohr^3", "ha/bohr3", "hartree/bohr^3"), "Ha/Bohr³"),
    **dict.fromkeys(("ry/bohr^3", "ry/bohr**3", "ry/bohr3"), "Ry/Bohr³"),
}
_AXES = "xyz"


@dataclass(frozen=True, slots=True)
class StressConvention:
    """Stress convention of a file. Raises `DataError` for an unknown unit, sign or order."""

    unit: str = "eV/Å³"  #: one of `UNITS`, or an alternative spelling such as eV/A^3
    sign: str = "tension"  #: meaning of positive diagonal components: "tension" or "compression"
    order: str = "xx yy zz yz xz xy"  #: order of six components; zx is the same as xz

    def __post_init__(self) -> None:
        unit = _SPELLINGS.get(self.unit.lower())
        if unit is None:
            raise DataError(f"stress unit '{self.unit}' is not known; {suggest(self.unit, UNITS)}")
        object.__setattr__(self, "unit", unit)
        if self.sign not in ("tension", "compression"):
            raise DataError(f"stress sign '{self.sign}' is not known; say which is positive, tension or compression")
        pairs = self.pairs
        if len(pairs) != 6 or len(set(pairs)) != 6:
            raise DataError(f"stress order '{self.order}' is not known; give xx yy zz yz xz xy in the file's order")

    @classmethod
    def parse(cls, text: "str | StressConvention") -> "StressConvention":
        """Parse a preset name, `unit:sign`, or `unit:sign:order` such as "kbar:compression:xx yy zz xy yz zx"."""
        if isinstance(text, StressConvention):
            return text
        if text in PRESETS:
            return PRESETS[text]
        parts = text.split(":")
        if not 2 <= len(parts) <= 3:
            raise DataError(
                f"stress convention '{text}' is not known; give {', '.join(PRESETS)} or unit:sign:order, "
                "as 'kbar:compression:xx yy zz xy yz zx'"
            )
        return cls(*(part.strip() for part in parts))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(row, column), row <= column, of each component of `order`; invalid components are omitted."""
        names = self.order.replace(",", " ").lower().split()
        named = [(_AXES.find(n[0]), _AXES.find(n[1])) for n in names if len(n) == 2]
        return [(min(p), max(p)) for p in named if min(p) >= 0]

    def to_stress(self, values: Sequence | np.ndarray, volume: float | None = None) -> np.ndarray:
        """Convert six or nine `values` to Voigt stress [6] in the unit, sign and order of gnnpot, eV/Å³.

        `volume` (Å³) is required for a virial. Raises `ValueError` for other numbers of values, or a missing volume.
        """
        values = np.asarray(values, dtype=float)
        if values.size == 9:
            full = values.reshape(3, 3)
        elif values.size == 6:
            full = np.empty((3, 3))
            for (i, j), value in zip(self.pairs, values.reshape(6), strict=True):
                full[i, j] = full[j, i] = value
        else:
            raise ValueError(f"stress has {values.size} numbers, expected 6 or 9")
        factor = UNITS[self.unit] * (1 if self.sign == "tension" else -1)
        if self.unit == "eV":
            if not volume:
                raise ValueError("a virial needs a cell with a volume")
            factor /= volume
        return stress_to_voigt(full if factor == 1 else factor * full)

    def __str__(self) -> str:
        return f"{self.unit}:{self.sign}:{self.order}"


PRESETS: dict[str, StressConvention] = {
    "ase": StressConvention(),
    "vasp-kbar": StressConvention("kbar", "compression", "xx yy zz xy yz zx"),
    "gpa": StressConvention("GPa"),
    "virial": StressConvention("eV", "compression"),
    "lammps": StressConvention("bar", "compression", "xx yy zz xy xz yz"),
    "espresso": StressConvention("Ry/Bohr³", "compression"),
}
