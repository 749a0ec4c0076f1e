"""Write the equations of state of a code in the ACWF verification as frames, for `gnnpot evaluate --suite`.

    python scripts/benchmarks/acwf_frames.py results-unaries-verification-PBE-v1-vasp.json unaries_vasp.extxyz.gz

Reads a file of results of the elements in four cubic structures, `acwf_paper_plots/code-data/results-unaries-….json` of
github.com/aiidateam/acwf-verification-scripts (Bosoni et al., Nat. Rev. Phys. 6, 45 (2024)). Of it are used, for each
crystal, such as `Al-X/FCC`:

- `eos_data`: pairs of the volume of the primitive cell (Å³) and its energy (eV);
- `stress_data`, if the file has it: pairs of the volume and the 3 x 3 stress (eV/Å³), positive under compression.

The structures have no free parameters, so the volume determines them. Stresses are written with ASE's sign, negative
under compression; forces are zero by symmetry. `info["acwf"]` is the name of the crystal. The suite expects the
name `unaries_vasp_pbe_eos.extxyz.gz`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from gnnpot.data.readers.base import open_binary
from gnnpot.runs.files import write_atomically
from gnnpot.units import stress_to_voigt

_FACES = ((0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
#: primitive cell vectors of a cube with an edge of 1, and fractional coordinates
STRUCTURES = {
    "SC": (((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), ((0.0, 0.0, 0.0),)),
    "BCC": (((-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5)), ((0.0, 0.0, 0.0),)),
    "FCC": (_FACES, ((0.0, 0.0, 0.0),)),
    "Diamond": (_FACES, ((0.0, 0.0, 0.0), (0.25, 0.25, 0.25))),
}
#: relative difference of two volumes that are the same
_SAME = 1e-9


def crystal(name: str, volume: float) -> Atoms:
    """Primitive cell of a crystal, such as `Al-X/FCC`, with a volume in Å³."""
    element, _, structure = name.partition("-X/")
    shape, places = STRUCTURES[structure]
    edge = (volume / np.linalg.det(shape)) ** (1 / 3)
    return Atoms([element] * len(places), scaled_positions=places, cell=edge * np.array(shape), pbc=True)


def frames_of(results: Mapping[str, Any]) -> Iterator[Atoms]:
    """Frames of all crystals and volumes of a file of results, with energies and stresses."""
    for name, pairs in results["eos_data"].items():
        stresses = (results.get("stress_data") or {}).get(name) or []
        for volume, energy in pairs or ():
            atoms = crystal(name, volume)
            found: dict[str, Any] = {"energy": energy, "forces": np.zeros((len(atoms), 3))}
            for other, stress in stresses:
                if stress is not None and abs(other / volume - 1) < _SAME:
                    found["stress"] = -stress_to_voigt(np.array(stress))
            atoms.calc = SinglePointCalculator(atoms, **found)
            atoms.info["acwf"] = name
            yield atoms


def main(
    results: Annotated[Path, typer.Argument(help="File of results of a code for the elements (JSON).")],
    output: Annotated[Path, typer.Argument(help="Output file (.extxyz.gz).")],
) -> None:
    """Write the frames."""
    with open_binary(results) as file:
        content = json.loads(file.read())
    names = content.get("eos_data", {}) if isinstance(content, dict) else {}
    if not names or any(name.partition("-X/")[2] not in STRUCTURES for name in names):
        raise typer.BadParameter(f"{results}: has no equations of state of the elements; give results-unaries-….json")
    frames = list(frames_of(content))
    write_atomically(output, lambda path: write(path, frames, format="extxyz"))
    typer.echo(f"{output}: {len(frames)} frames of {len({atoms.info['acwf'] for atoms in frames})} crystals")


if __name__ == "__main__":
    typer.run(main)
