"""Reader of potentials in the format of RuNNer and n2p2: `input.nn`, `scaling.data`, `weights.ZZZ.data`.

    model, energy_scale, atom_energies, notes = read_n2p2("nnp.2020.01")
    references = ElementReferences(tuple(atomic_numbers[e] for e in atom_energies), tuple(atom_energies.values()))
    potential = Potential(model, references, energy_scale)

The files do not specify units. Those of RuNNer, and of nearly all published potentials, are Bohr and Hartree. Lengths
are converted to Å; the networks are unchanged, and `energy_scale` converts their output. With the normalisation of n2p2
(`mean_energy` m, `conv_energy` c), the energy of an atom is E_network/c + m + `atom_energy`.

n2p2 numbers the symmetry functions of an element after sorting them by type, cutoff, η, R_s, then ζ, λ, and the
elements of the neighbours (`SymFncExpRad` and `SymFncExpAngn`, `operator<`); elements are sorted by atomic number.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from ase.data import atomic_numbers

from gnnpot.errors import CheckpointError
from gnnpot.models.hdnnp import HDNNP, Activation, HDNNPConfig, Scaling
from gnnpot.models.symmetry_functions import (
    CUTOFF_FUNCTIONS,
    BehlerNarrow,
    BehlerRadial,
    BehlerWide,
    SymmetryFunction,
    functions_of,
)
from gnnpot.units import BOHR, HARTREE

#: letter in n2p2 -> activation function
_ACTIVATIONS: dict[str, Activation] = {
    "l": "linear", "t": "tanh", "s": "logistic", "p": "softplus", "r": "relu", "g": "gaussian", "c": "cos",
    "S": "reverse_logistic", "e": "exp", "h": "harmonic",
}  # fmt: skip

#: type of a number in a line
N = TypeVar("N", int, float)


class N2P2Potential(NamedTuple):
    """A potential read from a folder."""

    model: HDNNP  #: float64; its energies are in units of `energy_scale`
    energy_scale: float  #: eV
    atom_energies: dict[str, float]  #: energy to be added for each atom, by element, eV
    notes: tuple[str, ...]  #: notes on the conversion for users


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of `input.nn`."""

    path: Path
    number: int
    keyword: str
    values: list[str]

    def error(self, what: str, remedy: str) -> CheckpointError:
        return CheckpointError(f"{self.path}, line {self.number}: {what}; {remedy}")

    def float(self, k: int = 0) -> float:
        return _number(self, k, float)

    def int(self, k: int = 0) -> int:
        return _number(self, k, int)


def _number(line: _Line, k: int, kind: Callable[[str], N]) -> N:
    try:
        return kind(line.values[k])
    except (IndexError, ValueError):
        word = "whole number" if kind is int else "number"
        raise line.error(f"{line.keyword} has no {word} as its value {k + 1}", "mend the line") from None


class _Settings:
    """Lines of `input.nn` by keyword."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[_Line] = []
        for number, text in enumerate(_read(path).splitlines(), start=1):
            words = text.split("#")[0].split()
            if words:
                self.lines.append(_Line(path, number, words[0], words[1:]))

    def all(self, keyword: str) -> list[_Line]:
        return [line for line in self.lines if line.keyword == keyword]

    def has(self, keyword: str) -> bool:
        return bool(self.all(keyword))

    def one(self, keyword: str) -> _Line:
        found = self.all(keyword)
        if not found:
            raise CheckpointError(f"{self.path}: keyword '{keyword}' is missing; give the folder of a whole potential")
        return found[0]

    def float(self, keyword: str, default: float) -> float:
        return self.one(keyword).float() if self.has(keyword) else default


def read_n2p2(folder: Path | str, length_unit: float = BOHR, energy_unit: float = HARTREE) -> N2P2Potential:
    """Read the potential in `folder`.

    Args:
        folder: The folder.
        length_unit: Unit of length of the files, Å.
        energy_unit: Unit of energy of the files, eV.

    Returns:
        The potential.

    Raises:
        CheckpointError: A file is missing, damaged or not supported; the message names the file and line.
    """
    folder = Path(folder)
    settings = _Settings(folder / "input.nn")
    elements = _elements(settings)
    conv_energy, conv_length, mean = _normalisation(settings)
    functions = _functions(settings, elements, length_unit)
    hidden, activations, sizes = _layers(settings, elements)
    config = HDNNPConfig(
        elements=elements,
        symmetry_functions=functions,
        hidden=hidden,
        activation=activations,
        scaling=_scaling(settings),
        scale_min=settings.float("scale_min_short", 0.0),
        scale_max=settings.float("scale_max_short", 1.0),
    )
    model = HDNNP(config).double()
    _set_scaling(model, folder / "scaling.data")
    _set_weights(model, folder, sizes, settings.has("normalize_nodes"))
    offsets = dict.fromkeys(elements, mean)
    for line in settings.all("atom_energy"):
        _known(line, 0, elements)
        offsets[line.values[0]] += line.float(1)
    notes = [f"read from {folder}, taken as energies in {energy_unit:.8g} eV and lengths in {length_unit:.8g} Å"]
    if settings.has("mean_energy"):
        notes.append(f"normalised: mean energy {mean:g}, energies times {conv_energy:g}, lengths times {conv_length:g}")
    return N2P2Potential(
        model=model.eval(),
        energy_scale=energy_unit / conv_energy,
        atom_energies={e: energy_unit * value for e, value in offsets.items()},
        notes=tuple(notes),
    )


def _elements(settings: _Settings) -> tuple[str, ...]:
    """Return the elements sorted by atomic number, as in n2p2."""
    line = settings.one("elements")
    for k in range(len(line.values)):
        _known(line, k, tuple(atomic_numbers))
    elements = tuple(sorted(line.values, key=atomic_numbers.__getitem__))
    if settings.one("number_of_elements").int() != len(elements):
        raise line.error(f"{len(elements)} elements are listed, not number_of_elements", "mend one of the two")
    return elements


def _known(line: _Line, k: int, elements: tuple[str, ...]) -> str:
    if k >= len(line.values) or line.values[k] not in elements:
        word = f"'{line.values[k]}'" if k < len(line.values) else "nothing"
        raise line.error(f"{word} stands where one of the elements is expected", "mend the line")
    return line.values[k]


def _normalisation(settings: _Settings) -> tuple[float, float, float]:
    """Return (conv_energy, conv_length, mean_energy); n2p2 requires all or none of them.

    `conv_length` scales distances and the parameters of the functions, so that their values do not change.
    """
    keywords = ("conv_energy", "conv_length", "mean_energy")
    given = [k for k in keywords if settings.has(k)]
    if given and len(given) < 3:
        raise settings.one(given[0]).error(f"{given[0]} needs all of {', '.join(keywords)}", "add or remove lines")
    return (settings.float(keywords[0], 1.0), settings.float(keywords[1], 1.0), settings.float(keywords[2], 0.0))


def _scaling(settings: _Settings) -> Scaling:
    scale, center = settings.has("scale_symmetry_functions"), settings.has("center_symmetry_functions")
    if settings.has("scale_symmetry_functions_sigma"):
        return "sigma"
    if scale:
        return "minmax_center" if center else "minmax"
    return "center" if center else "none"


def _functions(settings: _Settings, elements: tuple[str, ...], unit: float) -> tuple[SymmetryFunction, ...]:
    """Return all functions in the order of n2p2, with lengths in Å."""
    line = settings.one("cutoff_type")
    kind = line.int()
    if not 0 <= kind < len(CUTOFF_FUNCTIONS):
        raise line.error(f"cutoff_type {kind} is not known", f"known are 0 to {len(CUTOFF_FUNCTIONS) - 1}")
    inner = line.float(1) if len(line.values) > 1 else 0.0
    common = {"cutoff_function": CUTOFF_FUNCTIONS[kind], "inner_cutoff": inner}
    found = [_function(line, elements, unit, common) for line in settings.all("symfunction_short")]
    if not found:
        raise CheckpointError(f"{settings.path}: there is no symfunction_short; give the folder of a whole potential")
    for _, f, line in found:
        if [g for _, g, _ in found].count(f) > 1:
            raise line.error("the symmetry function is listed twice", "remove one of the lines")
    return tuple(f for _, f, _ in sorted(found, key=lambda entry: entry[0]))


def _function(
    line: _Line, elements: tuple[str, ...], unit: float, common: dict
) -> tuple[tuple[float, ...], SymmetryFunction, _Line]:
    """Parse a symmetry function; return (sorting key of n2p2, function, line)."""
    centre, kind = elements.index(_known(line, 0, elements)), line.int(1)
    if kind not in (2, 3, 9):
        raise line.error(f"symmetry functions of type {kind} are not supported", "supported are types 2, 3 and 9")
    first = elements.index(_known(line, 2, elements))
    try:
        if kind == 2:
            eta, shift, cutoff = (line.float(k) for k in (3, 4, 5))
            radial = BehlerRadial(
                centre=elements[centre], neighbor=elements[first],
                eta=eta / unit**2, shift=shift * unit, cutoff=cutoff * unit, **common,
            )  # fmt: skip
            return (centre, kind, cutoff, eta, shift, first), radial, line
        one, two = sorted((first, elements.index(_known(line, 3, elements))))
        eta, lambda_, zeta, cutoff = (line.float(k) for k in (4, 5, 6, 7))
        shift = line.float(8) if len(line.values) > 8 else 0.0
        function = (BehlerNarrow if kind == 3 else BehlerWide)(
            centre=elements[centre], neighbors=(elements[one], elements[two]),
            eta=eta / unit**2, shift=shift * unit, cutoff=cutoff * unit, zeta=zeta, lambda_=lambda_, **common,
        )  # fmt: skip
    except ValueError as error:
        raise line.error(str(error), "mend the line") from None
    return (centre, kind, cutoff, eta, shift, zeta, lambda_, one, two), function, line


def _layers(
    settings: _Settings, elements: tuple[str, ...]
) -> tuple[tuple[int, ...], tuple[Activation, ...], dict[str, list[int]]]:
    """Return (largest size of each hidden layer, activations of all elements, {element: layer sizes})."""
    for line in settings.all("element_hidden_layers_short"):
        if line.int(1) != settings.one("global_hidden_layers_short").int():
            raise line.error("elements with different numbers of layers are not supported", "use n2p2 itself for it")
    count = settings.one("global_hidden_layers_short").int()
    line = settings.one("global_nodes_short")
    sizes = {e: [line.int(k) for k in range(count)] for e in elements}
    for line in settings.all("element_nodes_short"):
        layer = line.int(1)
        if not 1 <= layer <= count:
            raise line.error(f"there is no hidden layer {layer}", f"there are 1 to {count}")
        sizes[_known(line, 0, elements)][layer - 1] = line.int(2)
    line = settings.one("global_activation_short")
    letters: dict[str, list[str]] = dict.fromkeys(elements, line.values)
    for line in settings.all("element_activation_short"):
        letters[_known(line, 0, elements)] = line.values[1:]
    if any(value != letters[elements[0]] for value in letters.values()):
        raise line.error("elements with different activations are not supported", "use n2p2 itself for it")
    unknown = [letter for letter in line.values[-count - 1 :] if letter not in _ACTIVATIONS]
    chosen = letters[elements[0]]
    if unknown or len(chosen) != count + 1 or chosen[-1] != "l":
        known = " ".join(_ACTIVATIONS)
        raise line.error(
            f"the activations {' '.join(chosen)} are not supported",
            f"needed are {count} of {known} for the hidden layers, and l for the output",
        )
    hidden = tuple(max(sizes[e][k] for e in elements) for k in range(count))
    return hidden, tuple(_ACTIVATIONS[letter] for letter in chosen[:-1]), sizes


def _set_scaling(model: HDNNP, path: Path) -> None:
    """Read lines `element function min max mean [sigma]`, numbered from 1; shorter lines (energies) are ignored."""
    counts = model.descriptor.counts
    table = torch.full((4, *model.factor.shape), torch.nan, dtype=torch.float64)
    for number, words in _rows(path):
        if len(words) < 5:
            continue
        try:
            s, k, values = int(words[0]) - 1, int(words[1]) - 1, [float(w) for w in words[2:6]]
        except ValueError:
            raise CheckpointError(f"{path}, line {number}: there is a word that is no number; mend the line") from None
        if not (0 <= s < len(counts) and 0 <= k < counts[s]):
            raise CheckpointError(
                f"{path}, line {number}: input.nn has no function {k + 1} of element {s + 1}; "
                "get the file that belongs to it"
            )
        # older files, which do not support scaling by σ, lack it
        table[:, s, k] = torch.tensor([*values, 1.0][:4], dtype=torch.float64)
    for s, count in enumerate(counts):
        if table[:, s, :count].isnan().any():
            raise CheckpointError(
                f"{path}: {model.elements[s]} has lines for fewer than its {count} functions; get the whole file"
            )
    model.set_scaling(*table)


@torch.no_grad()
def _set_weights(model: HDNNP, folder: Path, sizes: dict[str, list[int]], normalize_nodes: bool) -> None:
    """Set the weights of all elements; layers of elements with fewer nodes are padded with zeros."""
    for parameter in model.parameters():
        parameter.zero_()
    for s, element in enumerate(model.elements):
        path = folder / f"weights.{atomic_numbers[element]:03d}.data"
        nodes = [len(functions_of(tuple(model.descriptor.functions[s]), element)), *sizes[element], 1]
        expected = sum((a + 1) * b for a, b in zip(nodes[:-1], nodes[1:], strict=True))
        seen = set()
        for number, words in _rows(path):
            place, value = _connection(path, number, words, nodes)
            layer, row, column = place
            if row is None:
                model.biases[layer][s, 0, column] = value
            else:
                model.weights[layer][s, row, column] = value
            seen.add(place)
        if len(seen) != expected:
            raise CheckpointError(
                f"{path}: {len(seen)} different weights are given, the network has {expected}; "
                "get the file that belongs to this input.nn"
            )
        if normalize_nodes:
            # n2p2 divides the input of a node by the number of nodes of the previous layer
            for layer, before in enumerate(nodes[:-1]):
                model.weights[layer][s] /= before
                model.biases[layer][s] /= before


def _connection(
    path: Path, number: int, words: list[str], nodes: list[int]
) -> tuple[tuple[int, int | None, int], float]:
    """Parse `value a|b index layer node [layer node]`.

    Returns ((layer, node of the previous layer or `None` for a bias, node), value).
    """
    try:
        value, kind, where = float(words[0]), words[1], [int(w) for w in words[3:]]
        if kind == "a":
            before, row, layer, column = where[:4]
        elif kind == "b":
            layer, column = where[:2]
            before, row = layer - 1, None
        else:
            raise ValueError
        inside = 1 <= layer < len(nodes) and before == layer - 1 and 1 <= column <= nodes[layer]
        if not inside or (row is not None and not 1 <= row <= nodes[before]):
            raise ValueError
    except (ValueError, IndexError):
        raise CheckpointError(
            f"{path}, line {number}: is no connection of a network with {' x '.join(map(str, nodes))} nodes; "
            "get the file that belongs to this input.nn"
        ) from None
    return (layer - 1, None if row is None else row - 1, column - 1), value


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (number, words) of lines that are not empty or comments."""
    for number, text in enumerate(_read(path).splitlines(), start=1):
        words = text.split("#")[0].split()
        if words:
            yield number, words


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise CheckpointError(f"{path}: can't be read ({reason}); give the folder of a whole potential") from None
