"""VASP outputs that contain no valid labels, made by `tests/data/vasp_files.py` from frames of ASE's EMT."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from tests.data.vasp_files import outcar, vasprun


@functools.cache
def vasp_texts() -> dict[str, str]:
    """A valid `vasprun.xml` and a valid `OUTCAR`."""
    from bad_input_cases.files import labelled
    from gnnpot.data import Frame

    frames = [Frame.from_atoms(atoms) for atoms in labelled(2)]
    return {"vasprun": vasprun(frames), "outcar": outcar(frames)}


def _replaced(kind: str, pattern: str, by: str, count: int = 0) -> Callable[[], str]:
    def make() -> str:
        text, found = re.subn(pattern, by, vasp_texts()[kind], count=count, flags=re.DOTALL)
        assert found, f"{pattern}: is not in the {kind}"
        return text

    return make


def _cut(kind: str, share: float) -> Callable[[], str]:
    return lambda: vasp_texts()[kind][: int(share * len(vasp_texts()[kind]))]


def _unconverged() -> str:
    from bad_input_cases.files import labelled
    from gnnpot.data import Frame

    return vasprun([Frame.from_atoms(atoms) for atoms in labelled(1)], steps=[60])


_ICHARG = '<parameters>\\n   <i type="int" name="ICHARG">    11 </i>\\n'
#: {file name: (content, words of the message)}
VARIANTS: dict[str, tuple[Callable[[], str], str]] = {
    "cut40.xml": (_cut("vasprun", 0.4), "vasprun|xml|end"),
    "cut90.xml": (_cut("vasprun", 0.9), "cut|killed|incomplete|xml|end"),
    "unconverged.xml": (_unconverged, "converge"),
    "icharg.xml": (_replaced("vasprun", r"<parameters>\n", _ICHARG, 1), "charge density|icharg"),
    "stars.xml": (_replaced("vasprun", r'(name="forces" >\s*<v>)\s*\S+', r"\1 ************", 1), "force"),
    "nanforce.xml": (_replaced("vasprun", r'(name="forces" >\s*<v>)\s*\S+', r"\1 NaN", 1), "force"),
    "bignumber.xml": (_replaced("vasprun", r'(name="e_fr_energy">)\s*\S+', r"\1 1e308"), "energy"),
    "element.xml": (_replaced("vasprun", r"<c>Cu</c>", "<c>Qq</c>"), "element|qq"),
    "noatoms.xml": (_replaced("vasprun", r"<atominfo>.*</atominfo>", ""), "atom"),
    "nobasis.xml": (_replaced("vasprun", r'<varray name="basis" >.*?</varray>', ""), "basis|cell|lattice|incomplete"),
    "entity.xml": (
        lambda: _replaced("vasprun", r"<modeling>", _ENTITIES + "<modeling>", 1)().replace("<c>Cu</c>", "<c>&d;</c>"),
        "xml|entit|element",
    ),
    "other.xml": (lambda: "<?xml version='1.0'?>\n<html><body>hello</body></html>\n", "vasprun|no ionic step|nothing"),
    "text.xml": (lambda: "hello\n", "xml|vasprun"),
    "empty.xml": (lambda: "", "xml|vasprun|empty"),
    "cut.OUTCAR": (_cut("outcar", 0.5), "no ionic step|incomplete|killed|frame"),
    "stars.OUTCAR": (
        _replaced("outcar", r"(TOTAL-FORCE.*?-{5,}\n\s*\S+\s+\S+\s+\S+)\s+\S+", r"\1 **********", 1),
        "force|number",
    ),
    "nan.OUTCAR": (
        _replaced("outcar", r"(TOTAL-FORCE.*?-{5,}\n\s*\S+\s+\S+\s+\S+)\s+\S+", r"\1 NaN", 1),
        "force|number",
    ),
    "nopotcar.OUTCAR": (_replaced("outcar", r" POTCAR:[^\n]*\n", ""), "element|potcar|species"),
    "unconverged.OUTCAR": (
        _replaced("outcar", "aborting loop because EDIFF is reached", "the loop ended", 1),
        "converge|edif",
    ),
}
_ENTITIES = (
    '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">'
    '<!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;">]>'
)
