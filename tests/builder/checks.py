"""The checks of sentences/README.md: what a structure must be, looked at in the atoms."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.constraints import FixAtoms
from ase.data import covalent_radii
from ase.geometry import find_mic
from ase.neighborlist import neighbor_list
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from gnnpot.builder import BuildResult, build

SENTENCES = Path(__file__).parent / "sentences"


class _Loader(yaml.SafeLoader):
    """YAML in which NO is nitric oxide, and only `true` and `false` are truth values."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


def sentences(kind: str) -> list[dict[str, Any]]:
    """All sentences of `known` or `unseen`."""
    found: list[dict[str, Any]] = []
    for path in sorted(SENTENCES.glob(f"{kind}-*.yaml")):
        found += yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    return found


def built(text: str | list[str]) -> BuildResult:
    """The structure of a sentence, or of the last of several."""
    texts = [text] if isinstance(text, str) else text
    result = build(texts[0])
    for following in texts[1:]:
        result = result.edit(following)
    return result


def failures(result: BuildResult, checks: dict[str, Any]) -> list[str]:
    """What does not hold, in words; empty if all does."""
    wrong = []
    for name, wanted in checks.items():
        try:
            CHECKS[name](result, wanted)
        except AssertionError as problem:
            wrong.append(f"{name}: {problem}")
    return wrong


def _near(value: float, wanted: Any, tolerance: float, what: str = "") -> None:
    low, high = wanted if isinstance(wanted, list) else (wanted - tolerance, wanted + tolerance)
    assert low - 1e-6 <= value <= high + 1e-6, f"{what} {value:.4g}, wanted {wanted}"


def _count(value: int, wanted: Any, what: str) -> None:
    low, high = wanted if isinstance(wanted, list) else (wanted, wanted)
    assert low <= value <= high, f"{what} {value}, wanted {wanted}"


def _counts(atoms: Atoms) -> Counter:
    return Counter(atoms.get_chemical_symbols())


def _mask(atoms: Atoms) -> np.ndarray:
    """Which atoms are adsorbates."""
    tags = atoms.get_tags()
    return (tags == 0) & bool(tags.any())


def _formula(result: BuildResult, wanted: str) -> None:
    from pymatgen.core import Composition

    found = Composition(result.structure.get_chemical_formula()).reduced_formula
    assert found == Composition(wanted).reduced_formula, found


def _check_counts(result: BuildResult, wanted: dict[str, Any], complete: bool = True) -> None:
    found = _counts(result.structure)
    for symbol, number in wanted.items():
        _count(found.get(symbol, 0), number, symbol)
    assert not complete or set(found) <= set(wanted), f"also {set(found) - set(wanted)}"


def _ratio(result: BuildResult, wanted: dict[str, Any]) -> None:
    found = _counts(result.structure)
    total = sum(found[s] for s in wanted["among"])
    _near(found[wanted["of"]] / max(total, 1), wanted["is"], max(0.02, 1 / max(total, 1)), "ratio")


def _dataset(atoms: Atoms) -> Any:
    import spglib

    cell = (atoms.cell[:], atoms.get_scaled_positions(), atoms.numbers)
    return spglib.get_symmetry_dataset(cell, symprec=0.02)


def _conventional(result: BuildResult, wanted: dict[str, Any]) -> None:
    cell = Atoms(cell=_dataset(result.structure).std_lattice).cell.cellpar()
    _cell_parameters(cell, wanted)


def _cell_parameters(cell: np.ndarray, wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        index = ("a", "b", "c", "alpha", "beta", "gamma").index(name)
        tolerance = 1.0 if index > 2 else 0.03 * value if not isinstance(value, list) else 0.0
        _near(cell[index], value, tolerance, name)


def _distance(atoms: Atoms, pair: str) -> float:
    first, second = pair.split("-")
    i, j, d = neighbor_list("ijd", atoms, 6.0)
    symbols = np.array(atoms.get_chemical_symbols())
    chosen = d[(symbols[i] == first) & (symbols[j] == second)]
    return float(chosen.min()) if len(chosen) else np.inf


def _distances(result: BuildResult, wanted: dict[str, Any]) -> None:
    for pair, value in wanted.items():
        _near(_distance(result.structure, pair), value, 0.1, pair)


def _closest(result: BuildResult, wanted: float) -> None:
    d = neighbor_list("d", result.structure, 3.0)
    assert len(d) == 0 or d.min() >= wanted, f"{d.min():.2f}"


def _heights(atoms: Atoms) -> np.ndarray:
    normal = np.cross(atoms.cell[0], atoms.cell[1])
    return atoms.positions @ (normal / np.linalg.norm(normal))


def _layer_groups(atoms: Atoms, elements: list[str] | None, tolerance: float = 0.3) -> list[np.ndarray]:
    keep = ~_mask(atoms)
    if elements:
        keep &= np.isin(atoms.get_chemical_symbols(), elements)
    indices = np.nonzero(keep)[0]
    heights = _heights(atoms)[indices]
    order = np.argsort(heights)
    cuts = np.nonzero(np.diff(heights[order]) > tolerance)[0] + 1
    return [indices[g] for g in np.split(order, cuts)] if len(order) else []


def _layers(result: BuildResult, wanted: dict[str, Any]) -> None:
    groups = _layer_groups(result.structure, wanted.get("elements"), wanted.get("tolerance", 0.3))
    _count(len(groups), wanted["number"], "layers")


def _layer_spacing(result: BuildResult, wanted: dict[str, Any]) -> None:
    groups = _layer_groups(result.structure, wanted.get("elements"))
    heights = [_heights(result.structure)[g].mean() for g in groups]
    _near(float(np.mean(np.diff(heights))), wanted["is"], 0.1, "spacing")


def _thickness(result: BuildResult, wanted: Any) -> None:
    heights = _heights(result.structure)[~_mask(result.structure)]
    _near(float(np.ptp(heights)), wanted, 0.5, "thickness")


def _vacuum(result: BuildResult, wanted: Any) -> None:
    atoms = result.structure
    found = []
    for keep in (np.ones(len(atoms), bool), ~_mask(atoms)):
        normal = np.cross(atoms.cell[0], atoms.cell[1])
        period = abs(atoms.cell[2] @ normal) / np.linalg.norm(normal)
        heights = np.sort(_heights(atoms)[keep] % period)
        found.append(float(np.diff([*heights, heights[0] + period]).max()))
    low, high = wanted if isinstance(wanted, list) else (wanted - 0.5, wanted + 0.5)
    assert any(low <= gap <= high for gap in found), f"{found}, wanted {wanted}"


def _outermost(result: BuildResult, wanted: dict[str, Any]) -> None:
    groups = _layer_groups(result.structure, None)
    symbols = np.array(result.structure.get_chemical_symbols())
    for side, index in (("top", -1), ("bottom", 0)):
        if side in wanted:
            found = set(symbols[groups[index]])
            assert found == set(wanted[side]), f"{side} {found}"


def _fixed(atoms: Atoms) -> np.ndarray:
    chosen = np.zeros(len(atoms), bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            chosen[constraint.index] = True
    return chosen


def _fixed_layers(result: BuildResult, wanted: int) -> None:
    groups = _layer_groups(result.structure, None)
    held = set(np.nonzero(_fixed(result.structure))[0])
    expected = {int(i) for group in groups[:wanted] for i in group}
    assert held == expected, f"{len(held)} atoms held, {len(expected)} expected"


def _components(atoms: Atoms) -> list[np.ndarray]:
    radii = covalent_radii[atoms.numbers]
    i, j, d = neighbor_list("ijd", atoms, 4.0)
    bound = d < 1.25 * (radii[i] + radii[j])
    graph = coo_matrix((np.ones(bound.sum()), (i[bound], j[bound])), shape=(len(atoms), len(atoms)))
    _, labels = connected_components(graph, directed=False)
    return [np.nonzero(labels == k)[0] for k in range(labels.max() + 1)] if len(atoms) else []


def _same_formula(symbols: list[str], formula: str) -> bool:
    from pymatgen.core import Composition

    return Counter(symbols) == Counter({k: int(v) for k, v in Composition(formula).as_dict().items()})


def _molecules(result: BuildResult, wanted: dict[str, Any]) -> None:
    for formula, number in wanted.items():
        from pymatgen.core import Composition

        elements = list(Composition(formula).as_dict())
        atoms = result.structure
        keep = np.isin(atoms.get_chemical_symbols(), elements) | _mask(atoms)
        tags = atoms.get_tags()
        part = atoms[(tags == 0) if tags.any() else keep]
        found = sum(_same_formula(list(part.symbols[g]), formula) for g in _components(part))
        _count(found, number, formula)


def _adsorbate(result: BuildResult, wanted: dict[str, Any]) -> None:
    from adsorbates import check_adsorbate

    check_adsorbate(result.structure, _mask(result.structure), wanted)


def _particle(result: BuildResult, wanted: dict[str, Any]) -> None:
    atoms = result.structure
    if "elements" in wanted:
        atoms = atoms[np.isin(atoms.get_chemical_symbols(), wanted["elements"])]
        assert set(atoms.get_chemical_symbols()) == set(wanted["elements"]), atoms.symbols
    if "atoms" in wanted:
        _count(len(atoms), wanted["atoms"], "atoms")
    first, _second, d = neighbor_list("ijd", atoms, 4.0)
    if "diameter" in wanted:
        away = np.linalg.norm(atoms.positions - atoms.positions.mean(axis=0), axis=1)
        value = wanted["diameter"]
        _near(2 * float(away.max()), value, 0 if isinstance(value, list) else 0.15 * value, "diameter")
    if wanted.get("connected"):
        nearest = [d[first == i].min(initial=np.inf) for i in range(len(atoms))]
        assert max(nearest) < 3.5, f"an atom is {max(nearest):.1f} from all others"
    neighbours = np.bincount(first[d < 1.2 * d.min()], minlength=len(atoms))
    symbols = np.array(atoms.get_chemical_symbols())
    for name, chosen in (("surface", neighbours <= 10), ("core", neighbours > 10)):
        if name in wanted:
            assert set(symbols[chosen]) == set(wanted[name]), f"{name} {set(symbols[chosen])}"


def _contact(result: BuildResult, wanted: dict[str, Any]) -> None:
    atoms = result.structure
    chosen = np.isin(atoms.get_chemical_symbols(), wanted["of"])
    i, j, d = neighbor_list("ijd", atoms, 6.0)
    _near(float(d[chosen[i] & ~chosen[j]].min(initial=np.inf)), wanted["is"], 0.1, "contact")


def _gap(result: BuildResult, wanted: dict[str, Any]) -> None:
    symbols, heights = np.array(result.structure.get_chemical_symbols()), _heights(result.structure)
    gap = heights[np.isin(symbols, wanted["above"])].min() - heights[np.isin(symbols, wanted["below"])].max()
    _near(float(gap), wanted["is"], 0.2, "gap")


def _compared(result: BuildResult, wanted: dict[str, Any]) -> None:
    other = built(wanted["text"]).structure
    if "cell" in wanted:
        ratios = result.structure.cell.lengths() / other.cell.lengths()
        for name, value in wanted["cell"].items():
            _near(float(ratios["abc".index(name)]), value, 0.002, name)
    if "atoms" in wanted:
        _count(len(result.structure) - len(other), wanted["atoms"], "difference")
    if "counts" in wanted:
        here, there = _counts(result.structure), _counts(other)
        for symbol in set(here) | set(there):
            _count(here[symbol] - there[symbol], wanted["counts"].get(symbol, 0), symbol)


def _angle(result: BuildResult, wanted: dict[str, Any]) -> None:
    atoms = result.structure
    end, middle, other = wanted["atoms"].split("-")
    symbols = np.array(atoms.get_chemical_symbols())
    centre = int(np.nonzero(symbols == middle)[0][0])
    vectors = find_mic(atoms.positions - atoms.positions[centre], atoms.cell, atoms.pbc)[0]
    lengths = np.linalg.norm(vectors, axis=1)
    ends = [i for i in np.argsort(lengths) if i != centre and symbols[i] in (end, other)][:2]
    cosine = vectors[ends[0]] @ vectors[ends[1]] / (lengths[ends[0]] * lengths[ends[1]])
    _near(float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))), wanted["is"], 1.0, "angle")


def _density(result: BuildResult, wanted: Any) -> None:
    atoms = result.structure
    found = atoms.get_masses().sum() / atoms.get_volume() * 1.66053907
    _near(found, wanted, 0.0 if isinstance(wanted, list) else 0.03 * wanted, "density")


def _area(result: BuildResult, wanted: Any) -> None:
    cell = result.structure.cell
    found = float(np.linalg.norm(np.cross(cell[0], cell[1])))
    _near(found, wanted, 0.0 if isinstance(wanted, list) else 0.03 * wanted, "area")


def _warnings(result: BuildResult, wanted: list[str]) -> None:
    assert set(wanted) <= {w.kind for w in result.warnings}, [w.kind for w in result.warnings]


def _info(result: BuildResult, wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        _near(result.structure.info[name], value, 1e-3, name)


def _elements(result: BuildResult, wanted: list[str]) -> None:
    assert set(_counts(result.structure)) == set(wanted), set(_counts(result.structure))


def _multiple(result: BuildResult, wanted: int) -> None:
    assert len(result.structure) % wanted == 0, len(result.structure)


CHECKS: dict[str, Callable[[BuildResult, Any], None]] = {
    "formula": _formula, "counts": _check_counts, "some_counts": lambda r, w: _check_counts(r, w, False),
    "atoms": lambda r, w: _count(len(r.structure), w, "atoms"), "multiple_of": _multiple, "elements": _elements,
    "ratio": _ratio, "spacegroup": lambda r, w: _count(_dataset(r.structure).number, w, "space group"),
    "conventional": _conventional, "cell": lambda r, w: _cell_parameters(r.structure.cell.cellpar(), w), "area": _area,
    "distances": _distances, "closest": _closest, "density": _density, "layers": _layers,
    "layer_spacing": _layer_spacing,
    "thickness": _thickness, "vacuum": _vacuum, "outermost": _outermost,
    "fixed": lambda r, w: _count(int(_fixed(r.structure).sum()), w, "fixed"), "fixed_layers": _fixed_layers,
    "adsorbate": _adsorbate, "molecules": _molecules, "particle": _particle, "contact": _contact, "gap": _gap,
    "compared_with": _compared, "angle": _angle, "warnings": _warnings, "info": _info,
    "periodic": lambda r, w: _count(int(list(r.structure.pbc) == w), 1, "periodic"),
}  # fmt: skip
