"""Files as VASP 6.3 writes them, of numbers that others calculated: what its output has, in its places and formats."""

import numpy as np
from ase.data import chemical_symbols

from gnnpot.data.frame import Frame
from gnnpot.units import KBAR, stress_from_voigt

#: energy(sigma->0) and energy without entropy, beside the free energy, eV
SIGMA_0, WITHOUT_ENTROPY = 0.0021, 0.0042
NELM = 60


def kbar(frame: Frame) -> np.ndarray:
    """VASP's stress: [3, 3] kbar, positive under compression."""
    return -stress_from_voigt(frame.stress) / KBAR


def species(frame: Frame) -> list[tuple[str, int]]:
    """(symbol, atoms), in order; VASP has atoms of one species together."""
    changes = np.flatnonzero(np.diff(frame.numbers)) + 1
    return [(chemical_symbols[part[0]], len(part)) for part in np.split(frame.numbers, changes)]


def _v(row, fmt: str = "16.8f") -> str:
    return "<v> " + " ".join(f"{x:{fmt}}" for x in row) + " </v>\n"


def _structure(frame: Frame) -> str:
    basis = "".join(f"     {_v(row)}" for row in frame.cell)
    places = "".join(f"    {_v(row)}" for row in np.linalg.solve(frame.cell.T, frame.positions.T).T)
    reciprocal = "".join(f"     {_v(row)}" for row in np.linalg.inv(frame.cell).T)
    return (
        '  <structure>\n   <crystal>\n    <varray name="basis" >\n' + basis + "    </varray>\n"
        f'    <i name="volume"> {frame.volume:16.8f} </i>\n    <varray name="rec_basis" >\n' + reciprocal
        + '    </varray>\n   </crystal>\n   <varray name="positions" >\n' + places + "   </varray>\n"
    )  # fmt: skip


def _parameter(name: str, value: str) -> str:
    kinds = {"NELM": "int", "LDAUTYPE": "int", "IVDW": "int", "LDAUL": "int", "GGA": "string", "METAGGA": "string"}
    kind = kinds.get(name, "logical" if value in ("T", "F") else "")
    attribute = f' type="{kind}"' if kind else ""
    tag = "v" if len(value.split()) > 1 else "i"
    return f'   <{tag}{attribute} name="{name}"> {value} </{tag}>\n'


def _energy(free: float, places: str) -> str:
    entries = (("e_fr_energy", free), ("e_wo_entrp", free + WITHOUT_ENTROPY), ("e_0_energy", free + SIGMA_0))
    inner = "".join(f'    <i name="{name}"> {value:16.8f} </i>\n' for name, value in entries)
    return f"{places}<energy>\n{inner}{places}</energy>\n"


def vasprun(frames: list[Frame], steps: list[int] | None = None, selective: bool = False, **tags: str) -> str:
    """The text of `vasprun.xml`; `steps`: electronic steps of each frame; `tags` go into the parameters."""
    first, kinds = frames[0], species(frames[0])
    atoms = "".join(
        f"    <rc><c>{symbol:<2}</c><c>{k:4d}</c></rc>\n" for k, (symbol, n) in enumerate(kinds, 1) for _ in range(n)
    )
    types = "".join(
        f"    <rc><c>{n:4d}</c><c>{s:<2}</c><c>   1.00000000</c><c>   4.00000000</c>"
        f"<c>  PAW_PBE {s} 05Jan2001 </c></rc>\n"
        for s, n in kinds
    )
    settings = {"NELM": str(NELM), "GGA": "--", "METAGGA": "--", "LDAU": "F", "LHFCALC": "F", **tags}
    parameters = "".join(_parameter(name, value) for name, value in settings.items())
    flags = '   <varray type="logical" name="selective" >\n' + "".join(
        f'    <v type="logical"> {"F  F  F" if k % 2 else "T  T  T"} </v>\n' for k in range(len(first))
    ) + "   </varray>\n" if selective else ""  # fmt: skip
    head = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>\n'
        '  <i name="program" type="string">vasp </i>\n  <i name="version" type="string">6.3.0  </i>\n </generator>\n'
        ' <incar>\n  <i type="string" name="PREC">accura</i>\n </incar>\n'
        ' <kpoints>\n  <generation param="Gamma">\n   <v type="int" name="divisions">       1        1        1 </v>\n'
        '  </generation>\n  <varray name="kpointlist" >\n'
        "   <v>  0.00000000   0.00000000   0.00000000 </v>\n  </varray>\n"
        '  <varray name="weights" >\n   <v>       1.00000000 </v>\n  </varray>\n </kpoints>\n'
        f" <parameters>\n{parameters} </parameters>\n <atominfo>\n  <atoms> {len(first):7d} </atoms>\n"
        f'  <types> {len(kinds):7d} </types>\n  <array name="atoms" >\n   <set>\n{atoms}   </set>\n  </array>\n'
        f'  <array name="atomtypes" >\n   <set>\n{types}   </set>\n  </array>\n </atominfo>\n'
        + _structure(first).replace("<structure>", '<structure name="initialpos" >')
        + flags + "  </structure>\n"
    )  # fmt: skip
    steps = steps or [7] * len(frames)
    body = "".join(_calculation(f, n, float(tags.get("PSTRESS", 0))) for f, n in zip(frames, steps, strict=True))
    final = _structure(frames[-1]).replace("<structure>", '<structure name="finalpos" >') + "  </structure>\n"
    return head + body + final + "</modeling>\n"


def _calculation(frame: Frame, steps: int, pressure: float) -> str:
    electronic = "".join(
        "  <scstep>\n" + _energy(frame.energy + 2.0 * 0.01**k - 2.0 * 0.01 ** (steps - 1), "   ") + "  </scstep>\n"
        for k in range(steps)
    )
    forces = '  <varray name="forces" >\n' + "".join(f"   {_v(row)}" for row in frame.forces) + "  </varray>\n"
    stress = '  <varray name="stress" >\n' + "".join(f"   {_v(row)}" for row in kbar(frame)) + "  </varray>\n"
    enthalpy = frame.energy + pressure * KBAR * frame.volume
    return (
        " <calculation>\n" + electronic + _structure(frame) + "  </structure>\n" + forces + stress
        + _energy(enthalpy, "  ") + '  <time name="totalsc">   17.62   18.04</time>\n'
        '  <dos>\n   <i name="efermi">      5.12345678 </i>\n  </dos>\n </calculation>\n'
    )  # fmt: skip


def outcar(
    frames: list[Frame], converged: list[bool] | None = None, moments: np.ndarray | None = None, head: str = ""
) -> str:
    """The text of OUTCAR; `moments` [N] or [N, 3] stand in every step; `head` is put among the settings."""
    kinds = species(frames[0])
    potcars = "".join(f" POTCAR:    PAW_PBE {s} 05Jan2001                   \n" for s, _ in kinds)
    text = (
        " vasp.6.3.0 20Jan22 (build Feb 16 2022 17:18:48) complex                        \n\n INCAR:\n" + potcars * 2
        + f"   ions per type =            {''.join(f'{n:4d}' for _, n in kinds)}\n\n"
        "   ISPIN  =      1    spin polarized calculation?\n   METAGGA=      F    non-selfconsistent MetaGGA calc.\n"
        f"   NELM   = {NELM:6d};   NELMIN=  2; NELMDL= -5     # of ELM steps \n"
        "   GGA     =    --    GGA type\n   LEXCH   =     8    internal setting for exchange type\n"
        "   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS=      8\n"
        f"   number of dos      NEDOS =    301   number of ions     NIONS = {len(frames[0]):6d}\n"
        "   total plane-waves  NPLWV =  13824\n   NSW    =      4    number of steps for IOM\n"
        "   IBRION =      2    ionic relax: 0-MD 1-quasi-New 2-CG\n"
        " k-points in reciprocal lattice and weights: K-Points\n   0.00000000  0.00000000  0.00000000       1.000\n\n"
        + head + _vectors(frames[0])
    )  # fmt: skip
    converged = converged or [True] * len(frames)
    for k, frame in enumerate(frames, 1):
        text += _step(frame, k, converged[k - 1], moments)
    return text + "\n\n General timing and accounting informations for this job:\n ===========\n"


def _vectors(frame: Frame) -> str:
    rows = zip(frame.cell, np.linalg.inv(frame.cell).T, strict=True)
    lines = [f" {''.join(f'{x:13.9f}' for x in a)}   {''.join(f'{x:13.9f}' for x in b)}\n" for a, b in rows]
    return "      direct lattice vectors                 reciprocal lattice vectors\n" + "".join(lines) + "\n"


def _step(frame: Frame, number: int, converged: bool, moments: np.ndarray | None) -> str:
    s, e = kbar(frame), frame.energy
    ordered = (s[0, 0], s[1, 1], s[2, 2], s[0, 1], s[1, 2], s[2, 0])
    text = ""
    for k in range(1, 3):
        text += f"----------------------------------------- Iteration {number:4d}({k:4d})  ----------------------\n\n\n"
        text += f"  free energy    TOTEN  = {e + 0.5 * (2 - k):18.8f} eV\n\n"
        without, sigma_0 = e + WITHOUT_ENTROPY, e + SIGMA_0
        text += f"  energy without entropy = {without:16.8f}  energy(sigma->0) = {sigma_0:16.8f}\n\n"
    reached = "aborting loop because EDIFF is reached" if converged else "aborting loop EDIFF was not reached"
    text += f"------------------------ {reached} ----------------------------------------\n\n\n"
    for axis, column in zip("xyz", [] if moments is None else np.atleast_2d(np.transpose(moments)), strict=False):
        text += f" magnetization ({axis})\n \n# of ion       s       p       d       tot\n{'-' * 42}\n"
        text += "".join(f"{k:5d}       0.001   0.002  {m - 0.003:7.3f} {m:7.3f}\n" for k, m in enumerate(column, 1))
        text += "-" * 50 + f"\ntot            0.0     0.0     0.0  {column.sum():7.3f}\n\n"
    text += "  FORCE on cell =-STRESS in cart. coord.  units (eV):\n"
    text += "  Direction    XX          YY          ZZ          XY          YZ          ZX\n"
    text += f"  in kB   {''.join(f'{x:12.5f}' for x in ordered)}\n"
    text += f"  external pressure = {np.trace(s) / 3:11.2f} kB  Pullay stress =        0.00 kB\n\n"
    text += "  Total+kin. " + "".join(f"{x + 9:12.3f}" for x in ordered) + "\n"
    text += f" VOLUME and BASIS-vectors are now :\n{'-' * 70}\n  volume of cell : {frame.volume:12.2f}\n"
    text += _vectors(frame)
    text += f" POSITION                                       TOTAL-FORCE (eV/Angst)\n {'-' * 83}\n"
    for p, f in zip(frame.positions, frame.forces, strict=True):
        text += "".join(f"{x:13.5f}" for x in p) + "   " + "".join(f"{x:14.6f}" for x in f) + "\n"
    text += f" {'-' * 83}\n    total drift:                                0.000001      0.000002     -0.000003\n\n"
    text += f"  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  {'-' * 51}\n"
    text += f"  free  energy   TOTEN  = {e:18.8f} eV\n\n"
    text += f"  energy  without entropy={e + WITHOUT_ENTROPY:18.8f}  energy(sigma->0) ={e + SIGMA_0:18.8f}\n\n"
    return text + "     LOOP+:  cpu time    1.0000: real time    1.0000\n"
