"""Settings of VASP calculations, common to `vasprun.xml` and OUTCAR: functional, +U, pseudopotentials."""

import json
import re
from collections.abc import Mapping, Sequence

from ase.data import chemical_symbols

from gnnpot.data.frame import FrameError
from gnnpot.data.readers.dft import element_of_label

#: value of GGA in INCAR -> functional; below, family in the title of a POTCAR -> functional
_GGA = {
    "PE": "PBE", "PS": "PBEsol", "RP": "RPBE", "RE": "revPBE", "91": "PW91", "CA": "LDA", "PZ": "LDA", "AM": "AM05",
    "B3": "B3LYP", "BF": "BEEF", "OR": "optPBE", "BO": "optB88", "MK": "optB86b",
}  # fmt: skip
_FAMILY = {"PAW_PBE": "PBE", "PAW_GGA": "PW91", "PAW": "LDA", "US": "LDA"}
_METAGGA = {"R2SCAN": "r2SCAN", "RSCAN": "rSCAN"}
#: value of IVDW in INCAR -> dispersion correction
_DISPERSION = {
    "1": "D2", "10": "D2", "11": "D3", "12": "D3(BJ)", "13": "D4", "2": "TS", "20": "TS", "21": "TS/HI", "202": "MBD",
    "4": "dDsC",
}  # fmt: skip
#: e; largest charge of a neutral cell; NELECT and the valences are printed with few decimals
NEUTRAL = 0.01
_UNSET = {"", "--", "NONE", "F", ".FALSE."}


def functional(tags: Mapping[str, str], titles: Sequence[str]) -> str:
    """Return the functional, from INCAR `tags` (as listed in the output) and the `titles` of the POTCARs.

    >>> functional({"GGA": "--", "METAGGA": "R2SCAN", "IVDW": "12"}, ["PAW_PBE Si 05Jan2001"])
    'r2SCAN+D3(BJ)'
    """
    gga = tags.get("GGA", "").upper()
    meta = tags.get("METAGGA", "").upper()
    if gga not in _UNSET:
        name = _GGA.get(gga, gga)
    else:
        family = titles[0].split()[0] if titles and titles[0].split() else ""
        name = _FAMILY.get(family, "")
    if meta not in _UNSET:
        name = _METAGGA.get(meta, meta)
    if is_true(tags.get("LHFCALC", "")):
        name = _hybrid(name, tags)
    dispersion = tags.get("IVDW", "0")
    if dispersion not in ("0", *_UNSET):
        name += f"+{_DISPERSION.get(dispersion, f'IVDW={dispersion}')}"
    if is_true(tags.get("LUSE_VDW", "")):
        name += "+nonlocal"
    return name


def _hybrid(name: str, tags: Mapping[str, str]) -> str:
    if name == "PBE" and number(tags, "AEXX", 0.25) == 0.25:
        screening = number(tags, "HFSCREEN", 0.0)
        known = {0.0: "PBE0", 0.2: "HSE06", 0.3: "HSE03"}
        if screening in known:
            return known[screening]
    return name if name == "B3LYP" else f"hybrid of {name}"


def hubbard_u(tags: Mapping[str, str], titles: Sequence[str]) -> str:
    """Return U of each element in eV, as JSON; "{}" without +U. With Dudarev's method (LDAUTYPE = 2) it is U - J."""
    if not is_true(tags.get("LDAU", "")):
        return "{}"
    momentum, u, j = (_numbers(tags, f"LDAU{x}") for x in "LUJ")
    dudarev = tags.get("LDAUTYPE", "2").strip() == "2"
    found = {}
    for k, title in enumerate(titles):
        if k < len(momentum) and k < len(u) and momentum[k] >= 0:
            value = u[k] - (j[k] if dudarev and k < len(j) else 0.0)
            if value:
                found[chemical_symbols[element_of_title(title)]] = value
    return json.dumps(found)


def element_of_title(title: str) -> int:
    """Return the atomic number of a POTCAR title: "PAW_PBE Fe_pv 02Aug2007", "PAW_PBE H1.25 07Sep2000", "H 1/r …"."""
    words = title.split()
    return element_of_label(words[0] if "1/r" in title or len(words) < 2 else words[1])


def is_true(flag: str) -> bool:
    """Return whether a logical value of VASP is true."""
    return flag.strip().strip(".").upper().startswith("T")


def number(tags: Mapping[str, str], name: str, default: float) -> float:
    """Return the value of a tag. Raises `FrameError` if it is not a number, for example an overflowing field."""
    found = _numbers(tags, name)
    return found[0] if found else default


def _numbers(tags: Mapping[str, str], name: str) -> list[float]:
    text = tags.get(name, "")
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        problem = f"{name} = {text[:40]!r} is no number; mend or remove this frame"
        raise FrameError("file", f"{name} not a number", problem) from None


def check_kind(tags: Mapping[str, str], structures_only: bool) -> None:
    """Raise `FrameError` for a run whose energies and forces do not belong to its structures (fixed density, VCA).

    The structures of a run with a fixed density can be read if `structures_only`.
    """
    if number(tags, "ICHARG", 0) >= 10 and not structures_only:
        problem = (
            "has a fixed charge density (ICHARG >= 10), so its energy and forces are not self-consistent; leave it out"
        )
        raise FrameError("file", "not self-consistent", problem)
    if any(weight != 1 for weight in _numbers(tags, "VCA")):
        problem = "has elements mixed on one site (VCA), which gnnpot's structures can't hold; leave it out"
        raise FrameError("file", "mixed elements", problem)


def force_field_step() -> FrameError:
    """Return the error for a step of a machine-learned force field, whose labels are not results of DFT."""
    problem = (
        "has no electronic steps, so its labels come from a machine-learned force field; the other steps of the run "
        "are read with bad_frames=skip (--bad-frames skip)"
    )
    return FrameError("file", "no electronic steps", problem)


def total_charge(tags: Mapping[str, str], valences: Sequence[tuple[int, float]]) -> dict[str, float]:
    """Return {"total_charge": charge in e}, or {} if the output does not specify it.

    The charge follows from NELECT and `valences`, the (number of atoms, valence electrons per atom) of each species.
    """
    electrons = number(tags, "NELECT", 0.0)
    if not electrons or not valences:
        return {}
    charge = sum(atoms * valence for atoms, valence in valences) - electrons
    return {"total_charge": round(charge, 4) if abs(charge) > NEUTRAL else 0.0}


def provenance(version: str, tags: Mapping[str, str], titles: Sequence[str]) -> dict[str, str]:
    """Return the fields of `Provenance` for a VASP run, under the names of `PROVENANCE_KEYS`."""
    number = re.search(r"\d+(\.\d+)+", version)
    return {
        "code": f"VASP {number.group()}" if number else "VASP",
        "functional": functional(tags, titles),
        "hubbard_u": hubbard_u(tags, titles),
        "pseudopotentials": ", ".join(" ".join(title.split()) for title in titles),
    }
