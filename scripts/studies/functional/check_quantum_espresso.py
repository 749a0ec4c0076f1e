"""Compare the Kohn-Sham solver with Quantum ESPRESSO on the same local potentials.

    python scripts/studies/functional/check_quantum_espresso.py --pw pw.x -o tests/functional/quantum_espresso.json

The pseudopotentials are written as radial tables up to 10 bohr, which both programs transform by Simpson's rule; with
another cutoff of the table, the energy of silicon shifts by millirydberg. Needs pw.x (tested with 6.7, Debian's
package).
"""

import argparse
import json
import logging
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from scipy.special import erf

from gnnpot.functional import crystals
from gnnpot.functional.kohn_sham import Settings, calculation_grid, solve
from gnnpot.functional.pseudopotentials import Pseudopotential, from_radial, load
from gnnpot.functional.symmetry import centre, operations
from gnnpot.units import BOHR

RADII = np.linspace(0.0, 10.0, 1001)
SETTINGS = Settings(mesh=(4, 4, 4), tolerance=1e-11, residual=1e-8)
log = logging.getLogger(__name__)


def cases() -> dict[str, Atoms]:
    """A semiconductor, a compound with forces, a metal."""
    return {
        "Si": centre(crystals.diamond()),
        "GaAs displaced": crystals.displaced(crystals.zincblende("GaAs"), 0.02),
        "Al": bulk("Al", "fcc", a=4.05),
    }


def radial(pseudopotential: Pseudopotential) -> np.ndarray:
    """v(r) in Ha on `RADII` from v(q), by ∫ (v + 4 pi Z exp(-q²/4)/q²) sin(qr)/(qr) q² dq/(2 pi²) - Z erf(r)/r."""
    q = np.linspace(0.0, pseudopotential.q[-1], 30001)
    short = pseudopotential._spline(q) + 4 * np.pi * pseudopotential.charge * np.exp(-(q**2) / 4)
    step = q[1]
    values = np.empty_like(RADII)
    for i, r in enumerate(RADII):
        values[i] = np.trapezoid(short * np.sinc(q * r / np.pi), dx=step) / (2 * np.pi**2)
    safe = np.where(RADII > 0, RADII, 1.0)
    return values - pseudopotential.charge * np.where(RADII > 0, erf(safe) / safe, 2 / np.sqrt(np.pi))


def tables(atoms: Atoms) -> dict[int, Pseudopotential]:
    """Potentials for both programs."""
    pairs = dict(zip(atoms.numbers.tolist(), atoms.get_chemical_symbols(), strict=True))
    return {n: from_radial(s, load(s).charge, RADII, radial(load(s))) for n, s in pairs.items()}


def upf(pseudopotential: Pseudopotential) -> str:
    """A UPF file of a local potential; pw.x requires a projector, so there is one of strength zero."""

    def block(name: str, values: np.ndarray, more: str = "") -> str:
        rows = "\n".join(" ".join(f"{x:.16e}" for x in row) for row in np.array_split(values, 251))
        return f'<{name} type="real" size="{len(values)}" columns="4"{more}>\n{rows}\n</{name}>\n'

    n = len(RADII)
    rho = pseudopotential.charge * 4 / np.sqrt(np.pi) * RADII**2 * np.exp(-(RADII**2))
    header = (
        f'<PP_HEADER generated="local" author="" date="" comment="" element="{pseudopotential.symbol}"\n'
        'pseudo_type="NC" relativistic="no" is_ultrasoft="F" is_paw="F" is_coulomb="F" has_so="F" has_wfc="F"\n'
        'has_gipaw="F" core_correction="F" functional="SLA PZ NOGX NOGC"\n'
        f'z_valence="{pseudopotential.charge:.1f}" total_psenergy="0.0" rho_cutoff="0.0" l_max="0" l_local="-1"\n'
        f'mesh_size="{n}" number_of_wfc="0" number_of_proj="1"/>\n'
    )
    mesh = block("PP_R", RADII) + block("PP_RAB", np.full(n, RADII[1]))
    beta = ' index="1" angular_momentum="0" cutoff_radius_index="3" cutoff_radius="0.02"'
    projector = block("PP_BETA.1", np.zeros(n), beta) + '<PP_DIJ type="real" size="1" columns="1">\n0.0\n</PP_DIJ>\n'
    return (
        f'<UPF version="2.0.1">\n<PP_INFO>\n</PP_INFO>\n{header}<PP_MESH>\n{mesh}</PP_MESH>\n'
        + block("PP_LOCAL", 2 * radial(load(pseudopotential.symbol)))
        + f"<PP_NONLOCAL>\n{projector}</PP_NONLOCAL>\n<PP_PSWFC>\n</PP_PSWFC>\n"
        + block("PP_RHOATOM", rho)
        + "</UPF>\n"
    )


def pw_input(atoms: Atoms) -> str:
    """Input of pw.x with the same cut-off, k-points, smearing and grid."""
    symbols = sorted(set(atoms.get_chemical_symbols()))
    n = calculation_grid(atoms, SETTINGS).shape
    species = "\n".join(f"{s} 1.0 {s}.upf" for s in symbols)
    cell = "\n".join(" ".join(f"{x:.14f}" for x in row) for row in atoms.cell.array / BOHR)
    places = "\n".join(f"{atom.symbol} " + " ".join(f"{x:.14f}" for x in atom.position / BOHR) for atom in atoms)
    # for crystals of low symmetry, pw.x would use other k-points than those of the mesh
    nosym = ", nosym=.true." if len(operations(atoms)[0]) < 12 else ""
    mesh = " ".join(map(str, SETTINGS.mesh)) + " " + " ".join(str(int(s)) for s in SETTINGS.shift)
    return f"""&control
 calculation='scf', pseudo_dir='.', outdir='./out', tprnfor=.true., disk_io='none'
/
&system
 ibrav=0{nosym}, nat={len(atoms)}, ntyp={len(symbols)}, ecutwfc={2 * SETTINGS.cutoff},
 nr1={n[0]}, nr2={n[1]}, nr3={n[2]}
 occupations='smearing', smearing='gaussian', degauss={2 * SETTINGS.smearing}, input_dft='sla+pz'
/
&electrons
 conv_thr=1e-13, mixing_beta=0.7
/
ATOMIC_SPECIES
{species}
CELL_PARAMETERS bohr
{cell}
ATOMIC_POSITIONS bohr
{places}
K_POINTS automatic
{mesh}
"""


def run(pw: str, atoms: Atoms) -> dict:
    """Energy (Ry) and forces (Ry/bohr) of pw.x."""
    with tempfile.TemporaryDirectory() as folder:
        for pseudopotential in tables(atoms).values():
            (Path(folder) / f"{pseudopotential.symbol}.upf").write_text(upf(pseudopotential))
        (Path(folder) / "in").write_text(pw_input(atoms))
        done = subprocess.run([pw, "-in", "in"], cwd=folder, capture_output=True, text=True, check=False)
    energy = re.findall(r"!\s+total energy\s+=\s+(\S+) Ry", done.stdout)
    if not energy:
        raise SystemExit(f"pw.x has failed: {done.stdout[-1500:]} {done.stderr[-500:]}")
    forces = re.findall(r"atom\s+\d+ type\s+\d+\s+force =\s+(\S+)\s+(\S+)\s+(\S+)", done.stdout)[: len(atoms)]
    return {"energy_ry": float(energy[-1]), "forces_ry_bohr": [[float(x) for x in row] for row in forces]}


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pw", default="pw.x")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    results = {}
    for name, atoms in cases().items():
        reference = run(arguments.pw, atoms)
        own = solve(atoms, SETTINGS, tables(atoms))
        force = np.abs(2 * own.forces - np.array(reference["forces_ry_bohr"])).max()
        log.info(
            "%s: %.8f Ry, %.1e Ry from pw.x, forces %.1e Ry/bohr",
            name,
            2 * own.energy,
            2 * own.energy - reference["energy_ry"],
            force,
        )
        results[name] = {**reference, "own_energy_ry": 2 * own.energy, "own_forces_ry_bohr": (2 * own.forces).tolist()}
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
