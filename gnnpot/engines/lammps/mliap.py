"""Potentials for LAMMPS builds that include ML-IAP with Python, without a compiled pair style.

    import lammps, lammps.mliap
    from gnnpot.engines.lammps.mliap import UnifiedModel

    engine = lammps.lammps()
    lammps.mliap.activate_mliappy(engine)
    engine.command("pair_style mliap unified EXISTS")
    engine.command("pair_coeff * * Si")
    lammps.mliap.load_unified(UnifiedModel(gnnpot.load("my-hdnnp"), ["Si"]))
    engine.command("run 100")

LAMMPS passes only the neighbours of the rank's own atoms, so only potentials with one layer are supported: HDNNP, with
or without short-range repulsion. Potentials with more layers need the neighbours of ghost atoms; use
`pair_style gnnpot`.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from gnnpot.engines.lammps.local import LocalEnergies
from gnnpot.errors import ConfigError
from gnnpot.ops.exchange import Part
from gnnpot.potential import Potential


class UnifiedData(Protocol):
    """Data passed by LAMMPS's `mliap_unified_couple`: E pairs, n own atoms of the rank, and N atoms with ghosts."""

    iatoms: Any  #: [n] the rank's own atoms, which come first
    elems: Any  #: [N] indices in `element_types`
    pair_i: Any  #: [E] index i of each pair, ascending
    pair_j: Any  #: [E] index j of each pair
    rij: Any  #: [E, 3] Å, vectors from i to j
    eatoms: Any  #: [n] eV, energies of own atoms; output
    energy: Any  #: eV, their sum; output

    def update_pair_forces(self, fij: np.ndarray) -> None:
        """Add `fij` [E, 3] eV/Å to the forces on i, subtract it from those on j, and sum the virial."""


class UnifiedModel:
    """Model for LAMMPS's interface `MLIAPUnified`.

    Args:
        potential: Potential on the CPU.
        elements: Element of each LAMMPS atom type, in their order, as in `pair_coeff`.

    Raises:
        ConfigError: The potential has several layers, or has not been trained on an element.
    """

    def __init__(self, potential: Potential, elements: Sequence[str]) -> None:
        self._energies = LocalEnergies(potential, list(elements))
        if self._energies.layers > 1:
            raise ConfigError(
                f"pair_style mliap: the potential has {self._energies.layers} layers, for which ghosts need neighbours "
                "that LAMMPS does not pass; use pair_style gnnpot (gnnpot lammps)"
            )
        # attributes read by LAMMPS, which doubles the cutoff
        self.interface: Any = None
        self.element_types = list(elements)
        self.ndescriptors = self.nparams = 1
        self.rcutfac = 0.5 * self._energies.cutoff

    def compute_forces(self, data: UnifiedData) -> None:
        """Set the energies of the rank's own atoms, and add their contributions to the forces."""
        own, elements = len(data.iatoms), np.asarray(data.elems)
        vectors = np.ascontiguousarray(data.rij, dtype=np.float64).reshape(-1, 3)
        index = np.stack([np.asarray(pair, dtype=np.int64) for pair in (data.pair_i, data.pair_j)])
        # elements start at 0 here, LAMMPS atom types at 1
        energies, gradient = self._energies(elements + 1, Part(own), index, vectors)
        data.eatoms = energies
        data.energy = float(energies.sum())
        if len(gradient) > 0:
            data.update_pair_forces(gradient)

    def compute_gradients(self, data: UnifiedData) -> None:
        """Not used by LAMMPS for forces."""

    def compute_descriptors(self, data: UnifiedData) -> None:
        """Not used by LAMMPS for forces."""
