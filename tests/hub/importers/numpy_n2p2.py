"""A second evaluation of n2p2 potentials, from the file format and the formulas, in NumPy; shares nothing with gnnpot.

Everything is calculated in the units of the files (here: Bohr, Hartree), with neighbours from explicit images.
"""

import itertools
import math
from pathlib import Path

import numpy as np

BOHR, HARTREE = 0.5291772105638411, 27.211386024367243
NUMBERS = {"Li": 3, "O": 8, "Si": 14, "Cu": 29, "Mo": 42}


class NumpyPotential:
    """`energy(symbols, positions, cell)` in eV for a folder of files; positions and a periodic cell in Å."""

    def __init__(self, folder: Path) -> None:
        self.keys: dict[str, list[list[str]]] = {}
        for line in (folder / "input.nn").read_text().split("\n"):
            parts = line.split("#")[0].split()
            if parts:
                self.keys.setdefault(parts[0], []).append(parts[1:])
        self.elements = sorted(self.keys["elements"][0], key=lambda e: NUMBERS[e])
        self.functions = {e: self._functions(e) for e in self.elements}
        rows = np.array([[float(x) for x in r.split()] for r in (folder / "scaling.data").read_text().split("\n") if r])
        self.stats = {e: rows[rows[:, 0] == k + 1][:, 2:] for k, e in enumerate(self.elements)}
        self.connections = {
            e: [r.split() for r in (folder / f"weights.{NUMBERS[e]:03d}.data").read_text().split("\n") if r]
            for e in self.elements
        }
        self.offsets = {e: float(x) for e, x in self.keys.get("atom_energy", [])}
        cutoff = self.keys["cutoff_type"][0]
        self.kind, self.alpha = int(cutoff[0]), float(cutoff[1]) if len(cutoff) > 1 else 0.0

    def _functions(self, element: str) -> list[tuple]:
        found = []
        for w in self.keys["symfunction_short"]:
            if w[0] != element:
                continue
            x = [float(v) for v in w[3 if w[1] == "2" else 4 :]]
            if w[1] == "2":
                e1 = self.elements.index(w[2])
                found.append((2, x[2], x[0], x[1], 0.0, 0.0, e1, -1))
            else:
                e1, e2 = sorted((self.elements.index(w[2]), self.elements.index(w[3])))
                found.append((int(w[1]), x[3], x[0], x[4] if len(x) > 4 else 0.0, x[2], x[1], e1, e2))
        return sorted(found)

    def cutoff_function(self, r: np.ndarray, rc: float) -> np.ndarray:
        if self.kind == 2:
            f = np.tanh(1 - r / rc) ** 3
        else:
            x = np.clip((r - self.alpha * rc) / (rc * (1 - self.alpha)), 0, 1)
            f = {1: 0.5 * (np.cos(np.pi * x) + 1), 6: 1 - 10 * x**3 + 15 * x**4 - 6 * x**5}[self.kind]
        return np.where(r < rc, f, 0.0)

    def descriptors(self, symbols: list[str], positions: np.ndarray, cell: np.ndarray) -> list[np.ndarray]:
        """Unscaled functions of each atom."""
        positions, cell = np.asarray(positions) / BOHR, np.asarray(cell) / BOHR
        reach = max(f[1] for fs in self.functions.values() for f in fs)
        heights = 1 / np.linalg.norm(np.linalg.inv(cell).T, axis=1)
        spans = [range(-math.ceil(reach / h) - 1, math.ceil(reach / h) + 2) for h in heights]
        images = np.array(list(itertools.product(*spans))) @ cell
        kinds = np.array([self.elements.index(s) for s in symbols])
        out = []
        for i, symbol in enumerate(symbols):
            vectors = (positions[None] + images[:, None] - positions[i]).reshape(-1, 3)
            owner = np.tile(kinds, len(images))
            lengths = np.linalg.norm(vectors, axis=1)
            near = (lengths < reach) & (lengths > 1e-8)
            out.append(self._atom(vectors[near], lengths[near], owner[near], self.functions[symbol]))
        return out

    def _atom(self, v: np.ndarray, r: np.ndarray, kinds: np.ndarray, functions: list[tuple]) -> np.ndarray:
        j, k = np.triu_indices(len(v), 1)
        r_jk = np.linalg.norm(v[j] - v[k], axis=1)
        cosine = np.einsum("tx,tx->t", v[j], v[k]) / r[j] / r[k]
        values = []
        for kind, rc, eta, shift, zeta, lambda_, e1, e2 in functions:
            f = self.cutoff_function(r, rc)
            if kind == 2:
                values.append(np.sum((np.exp(-eta * (r - shift) ** 2) * f)[kinds == e1]))
                continue
            pair = ((kinds[j] == e1) & (kinds[k] == e2)) | ((kinds[j] == e2) & (kinds[k] == e1))
            square = (r[j] - shift) ** 2 + (r[k] - shift) ** 2
            weight = f[j] * f[k]
            if kind == 3:
                square = square + (r_jk - shift) ** 2
                weight = weight * self.cutoff_function(r_jk, rc)
            term = 2 ** (1 - zeta) * np.clip(1 + lambda_ * cosine, 0, None) ** zeta * np.exp(-eta * square) * weight
            values.append(np.sum(term[pair]))
        return np.array(values)

    def scaled(self, element: str, g: np.ndarray) -> np.ndarray:
        low, high, mean, sigma = self.stats[element].T
        span = [float(self.keys[k][0][0]) for k in ("scale_min_short", "scale_max_short")]
        if "scale_symmetry_functions_sigma" in self.keys:
            return span[0] + (span[1] - span[0]) * (g - mean) / sigma
        scale, center = "scale_symmetry_functions" in self.keys, "center_symmetry_functions" in self.keys
        if scale:
            return span[0] + (span[1] - span[0]) * (g - (mean if center else low)) / (high - low)
        return g - mean if center else g

    def network(self, element: str, x: np.ndarray) -> float:
        layers = int(self.keys["global_hidden_layers_short"][0][0])
        nodes = [len(x), *(int(n) for n in self.keys["global_nodes_short"][0][:layers]), 1]
        for symbol, layer, count in self.keys.get("element_nodes_short", []):
            if symbol == element:
                nodes[int(layer)] = int(count)
        functions = {"t": np.tanh, "l": lambda y: y}
        functions |= {"p": lambda y: np.log(1 + np.exp(y)), "s": lambda y: 1 / (1 + np.exp(-y))}
        for layer in range(1, layers + 2):
            total = np.zeros(nodes[layer])
            for w in self.connections[element]:
                if w[1] == "a" and int(w[5]) == layer:
                    total[int(w[6]) - 1] += float(w[0]) * x[int(w[4]) - 1]
                elif w[1] == "b" and int(w[3]) == layer:
                    total[int(w[4]) - 1] += float(w[0])
            if "normalize_nodes" in self.keys:
                total /= nodes[layer - 1]
            x = functions[self.keys["global_activation_short"][0][layer - 1]](total)
        return float(x[0])

    def energy(self, symbols: list[str], positions: np.ndarray, cell: np.ndarray) -> float:
        conv = float(self.keys.get("conv_energy", [["1"]])[0][0])
        mean = float(self.keys.get("mean_energy", [["0"]])[0][0])
        total = 0.0
        for symbol, g in zip(symbols, self.descriptors(symbols, positions, cell), strict=True):
            total += self.network(symbol, self.scaled(symbol, g)) / conv + mean + self.offsets.get(symbol, 0.0)
        return total * HARTREE

    def force(self, symbols: list[str], positions: np.ndarray, cell: np.ndarray, atom: int, axis: int) -> float:
        """By central differences, eV/Å."""
        ends = []
        for step in (1e-4, -1e-4):
            moved = np.array(positions)
            moved[atom, axis] += step
            ends.append(self.energy(symbols, moved, cell))
        return -(ends[0] - ends[1]) / 2e-4
