"""First step of a fine-tuning: refit the element references to the residuals of the starting model.

    refit, references = refit_references(potential, subset, ridge=1e-6)
    refit.rows()                       # element by element: before, shift, uncertainty

Another code, functional or set of pseudopotentials shifts energies by hundreds of eV, in proportion to the composition.
For F frames with residuals ΔE_f = label - prediction, and n_fe atoms of element e out of N_f, the shifts δ_e minimise

    Σ_f [(ΔE_f - Σ_e n_fe δ_e) / N_f]² + ridge F Σ_e δ_e²

Combinations of elements that the compositions do not determine (if all frames are NaCl, the ratio of the shifts of Na
and Cl) are unchanged and reported. Elements that do not occur in the frames keep their references.
"""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols
from torch_geometric.data import Batch

from gnnpot.config import from_mapping, to_mapping
from gnnpot.data.frame import Frame
from gnnpot.data.references import ElementReferences
from gnnpot.errors import DataError
from gnnpot.potential import Potential
from gnnpot.runs.files import write_text
from gnnpot.training.subsets import Subset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refit:
    """Result of refitting element references."""

    frames: int  #: number of frames with an energy
    ridge: float
    before: dict[str, float]  #: references before the refit, eV per atom by symbol
    shift: dict[str, float]  #: change of the references, eV per atom
    uncertainty: dict[str, float | None]  #: standard uncertainty of the shift, eV; None: not known
    atoms: dict[str, int]  #: number of atoms in the frames
    undetermined: tuple[str, ...]  #: combinations of elements that the frames do not determine, which are unchanged
    mae_before: float  #: mean absolute error of the frames' energies before the refit, eV per atom
    mae_after: float  #: the same after the refit

    def rows(self) -> list[tuple[str, ...]]:
        """Rows of a table: element, number of atoms, reference before, shift, uncertainty, reference after.

        Energies are in eV; the first row is the header.
        """
        rows: list[tuple[str, ...]] = [("element", "atoms", "before, eV", "shift, eV", "± eV", "after, eV")]
        for e, shift in self.shift.items():
            sigma = self.uncertainty.get(e)
            rows.append((
                e, f"{self.atoms[e]:,}", f"{self.before[e]:.4f}", f"{shift:+.4f}",
                "unknown" if sigma is None else f"{sigma:.2g}", f"{self.before[e] + shift:.4f}",
            ))  # fmt: skip
        return rows

    def sentence(self) -> str:
        """Sentence with the energy errors before and after, and the combinations that are not determined."""
        text = (
            f"Energies of {self.frames} training frames: MAE {1e3 * self.mae_before:.4g} meV/atom before, "
            f"{1e3 * self.mae_after:.4g} after."
        )
        if self.undetermined:
            open_ones = "; ".join(self.undetermined)
            text += f" The frames do not determine {open_ones}: there the references stayed as they were."
        return text


def refit_references(potential: Potential, subset: Subset, ridge: float) -> tuple[Refit, ElementReferences]:
    """Refit the references of `potential` to the frames of `subset`.

    Returns:
        The refit, and the new references.

    Raises:
        DataError: No frame has an energy, or predicted energies are not finite.
    """
    frames = [frame for frame in subset.frames if frame.energy is not None]
    if not frames:
        raise DataError(
            f"{subset.store.folder}: no training frame has an energy, so the element references can't be refitted; "
            "check the name of the label, or set refit.enabled=false"
        )
    sizes = np.array([len(frame) for frame in frames])
    residuals = np.array([frame.energy for frame in frames]) - predicted_energies(potential, frames)
    if not np.isfinite(residuals).all():
        raise DataError(
            f"{subset.store.folder}: the starting potential gives energies that are not finite; look for atoms that "
            "nearly touch, or for damaged weights"
        )
    references = potential.references.refit(frames, residuals, ridge=ridge, source="refitted to the training frames")
    old, new = potential.references.energies_by_number(), references.energies_by_number()
    sigma = dict(zip(references.elements, references.uncertainties or [np.nan] * len(references.elements), strict=True))
    numbers, counts = np.unique(np.concatenate([frame.numbers for frame in frames]), return_counts=True)
    symbols = {chemical_symbols[z]: int(z) for z in numbers}
    shifted = residuals - [float((new - old)[frame.numbers].sum()) for frame in frames]
    refit = Refit(
        frames=len(frames),
        ridge=ridge,
        before={e: float(old[z]) for e, z in symbols.items()},
        shift={e: float(new[z] - old[z]) for e, z in symbols.items()},
        uncertainty={e: float(sigma[z]) if np.isfinite(sigma[z]) else None for e, z in symbols.items()},
        atoms=dict(zip(symbols, counts.tolist(), strict=True)),
        undetermined=references.undetermined,
        mae_before=float(np.abs(residuals / sizes).mean()),
        mae_after=float(np.abs(shifted / sizes).mean()),
    )
    log.info("%s", refit.sentence())
    return refit, references


@torch.no_grad()
def predicted_energies(potential: Potential, frames: Iterable[Frame], max_atoms: int = 512) -> np.ndarray:
    """Predict the energies of frames, [F] in eV, in batches of at most `max_atoms` atoms; larger frames alone."""
    found, waiting, atoms = [], [], 0
    frames = list(frames)
    for k, frame in enumerate(frames):
        waiting.append(potential.graph(frame))
        atoms += len(frame)
        if k + 1 == len(frames) or atoms + len(frames[k + 1]) > max_atoms:
            batch = Batch.from_data_list(waiting).to(potential.device)
            found.append(potential(batch, forces=False, stress=False).energy.numpy(force=True))
            waiting, atoms = [], 0
    return np.concatenate(found) if found else np.zeros(0)


@dataclass(frozen=True)
class FirstStep:
    """Content of `refit.json`: the first step of a fine-tuning, which resumed runs read."""

    start: str
    start_sha256: str
    references: dict  #: new references, as in `ElementReferences.to_mapping`
    refit: Refit | None = None
    #: references of the earlier frames, whose zero of energy may differ
    replay_references: dict | None = None

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(to_mapping(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> "FirstStep | None":
        """Read the file; `None` if it does not exist. Raises `DataError` if it can't be read."""
        if not path.exists():
            return None
        try:
            mapping = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise DataError(f"{path}: can't be read; begin the run afresh") from None
        return from_mapping(cls, mapping, where=str(path))
