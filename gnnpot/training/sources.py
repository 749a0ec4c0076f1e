"""Sources of training frames: the main one, which the trained potential speaks for, and others beside it.

    main, hot = Source("train", part), Source("hot", other, SourceConfig(train=path, references="own", weight=0.5))
    references, shifts = fit_references(main, [hot])
    mixture = Mixture((main, replace(hot, shift=shifts["hot"])))
    mixture[17], mixture.n_atoms, mixture.shares

The energy of a frame f with n_Z atoms of element Z, of a source s with references E_s(Z) of its own, becomes

    E'_f = E_f + Σ_Z n_Z [E_0(Z) - E_s(Z)]

with the main source's references E_0; its cohesion is kept, its zero is theirs.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from ase.data import chemical_symbols

from gnnpot.data.frame import Frame
from gnnpot.data.references import BLOCK, ElementReferences
from gnnpot.data.store import FrameStore
from gnnpot.errors import ConfigError, DataError
from gnnpot.training.config import SourceConfig
from gnnpot.training.sampler import Share

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Part:
    """Frames of one store that have one purpose."""

    store: FrameStore
    indices: np.ndarray  #: ascending

    @property
    def frames(self) -> Sequence[Frame]:
        return self.store.select(self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def spread(self, count: int) -> Iterator[Frame]:
        """At most `count` frames, evenly spread over the part."""
        return (self.store[int(self.indices[k])] for k in spread_indices(len(self), count))

    @property
    def elements(self) -> np.ndarray:
        """Atomic numbers, ascending."""
        index = self.store.index()
        inside = np.zeros(len(index), dtype=bool)
        inside[self.indices] = True
        return np.unique(index.elements[np.repeat(inside, np.diff(index.offsets))])

    @property
    def functional(self) -> str:
        """What the frames say that it is; empty if they say different things, or nothing. A hundred are asked."""
        said = {frame.provenance.functional for frame in self.spread(100)}
        return said.pop() if len(said) == 1 else ""

    def without(self, held_out: Iterable["Part"], by: str) -> "Part":
        """The frames of no material (`by` "material"), or no structure ("frame"), that is held out."""
        kind = "material_id" if by == "material" else "fingerprint"
        taken = [getattr(part.store.index(), kind)[part.indices] for part in held_out]
        mine = getattr(self.store.index(), kind)[self.indices]
        return Part(self.store, self.indices[~np.isin(mine, np.unique(np.concatenate(taken)))])


@dataclass(frozen=True, eq=False)
class Source:
    """Frames to train on, and what is done with them. Without a `config` it is the main source."""

    name: str
    part: Part
    config: SourceConfig | None = None
    references: ElementReferences | None = None  #: of its own, where the energies are moved
    #: [119] eV by atomic number, added for each atom of that element
    shift: np.ndarray = field(default_factory=lambda: np.zeros(119))

    @property
    def weight(self) -> float:
        return 1.0 if self.config is None else self.config.weight

    def frame(self, i: int) -> Frame:
        """A frame with the labels that are used, its energy moved."""
        frame = self.part.store[int(self.part.indices[i])]
        if self.config is None:
            return frame
        fields = {name: getattr(frame, name) for name in Frame.__slots__}
        unused = {"energy", "forces", "stress", "magmoms"} - set(self.config.labels)
        fields |= dict.fromkeys(unused)
        if fields["energy"] is not None:
            fields["energy"] += float(self.shift[frame.numbers].sum())
        return Frame.trusted(**fields)

    def summary(self) -> dict:
        """Plain values for the records of a run."""
        if self.config is None:
            return {"frames": len(self.part), "weight": self.weight}
        return {
            "frames": len(self.part),
            "weight": self.weight,
            "labels": list(self.config.labels),
            "store_sha256": self.part.store.sha256,
            "references": "shared" if self.references is None else self.references.to_mapping(),
        }


class Mixture(Sequence[Frame]):
    """The frames of sources, one source after the other; in which order they are taken is the sampler's affair."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        self._starts = np.cumsum([0] + [len(source.part) for source in sources])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, i: int) -> Frame:
        source = int(np.searchsorted(self._starts, i, side="right")) - 1
        return self.sources[source].frame(int(i - self._starts[source]))

    @cached_property
    def n_atoms(self) -> np.ndarray:
        """[F] atoms of each frame."""
        return np.concatenate([s.part.store.index().n_atoms[s.part.indices] for s in self.sources])

    @property
    def shares(self) -> tuple[Share, ...]:
        """What the sampler needs to know of the sources."""
        return tuple(Share(s.part.store.row_groups(s.part.indices), s.weight) for s in self.sources)

    @property
    def sha256(self) -> str:
        """Names the frames: equal for the same frames of the same stores."""
        digest = hashlib.sha256()
        for source in self.sources:
            digest.update(source.part.store.sha256.encode() + source.part.indices.tobytes())
        return digest.hexdigest()

    def spread(self, count: int) -> Iterator[Frame]:
        """At most `count` frames, evenly spread over all sources."""
        return (self[k] for k in spread_indices(len(self), count))


def spread_indices(frames: int, count: int) -> list[int]:
    """At most `count` of the numbers below `frames`, evenly spread."""
    return np.unique(np.linspace(0, frames - 1, min(count, frames)).astype(int)).tolist()


def place(main: Source, others: Sequence[Source], given: dict[str, float] | None) -> tuple[Source, ...]:
    """All sources with their references and shifts; the first is the main one, with the potential's references.

    Those are `given` (eV per atom by symbol), or fitted to the main source and those that share its scale. An element
    that only sources with a scale of their own have keeps the energy of the first of these.

    Raises `ConfigError` if given references lack an element, `DataError` where frames with an element have no energy.
    """
    sharing = [s for s in others if s.config.references == "shared"]
    common = _fit([main, *sharing]) if given is None else _given(given, [main, *sharing], "references")
    own = {s.name: _own_references(s) for s in others if s not in sharing}
    energies = common.energies_by_number()
    for references in own.values():
        energies = np.where(np.isnan(energies), references.energies_by_number(), energies)
    if own:
        known = np.flatnonzero(np.isfinite(energies))
        table = {chemical_symbols[z]: float(energies[z]) for z in known}
        common = ElementReferences.from_mapping({**common.to_mapping(), "energies": table})
    placed = [Source(main.name, main.part, None, common)]
    for source in others:
        references = own.get(source.name)
        shift = np.zeros(119) if references is None else energies - references.energies_by_number()
        placed.append(Source(source.name, source.part, source.config, references, np.nan_to_num(shift)))
    return tuple(placed)


def _own_references(source: Source) -> ElementReferences:
    references = source.config.references
    if isinstance(references, dict):
        return _given(references, [source], f"data.sources.{source.name}.references")
    return _fit([source])


def _given(energies: dict[str, float], sources: Sequence[Source], where: str) -> ElementReferences:
    references = ElementReferences.from_mapping({"energies": energies}, where=where)
    missing = _symbols(sources) - {chemical_symbols[z] for z in references.elements}
    if missing:
        raise ConfigError(
            f"{where}: there is no energy for {', '.join(sorted(missing))}, which the training frames have"
        )
    return references


def _fit(sources: Sequence[Source]) -> ElementReferences:
    """References of all frames of `sources` together."""
    elements = np.unique(np.concatenate([s.part.elements for s in sources]))
    using = [s for s in sources if s.config is None or "energy" in s.config.labels]
    folders = ", ".join(str(s.part.store.folder) for s in sources)
    if not any(np.isfinite(s.part.store.index().energy[s.part.indices]).any() for s in using):
        raise DataError(f"{folders}: no training frame has an energy; check the name of the label")
    references = ElementReferences.fit_blocks(
        (block for s in using for block in _compositions(s.part, elements)), elements, source="training frames"
    )
    unlabelled = _symbols(sources) - {chemical_symbols[z] for z in references.elements}
    if unlabelled:
        raise DataError(
            f"{folders}: no frame with {', '.join(sorted(unlabelled))} has an energy; leave those frames out"
        )
    return references


def _compositions(part: Part, elements: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Atoms by element, energies, and whether they are free atoms, of the labelled frames, a block at a time."""
    index = part.store.index()
    for start in range(0, len(index), BLOCK):
        low, high = np.searchsorted(part.indices, (start, start + BLOCK))
        chosen = part.indices[low:high]
        chosen = chosen[np.isfinite(index.energy[chosen])]
        if len(chosen):
            first, last = int(chosen[0]), int(chosen[-1]) + 1
            present = np.unique(index.elements[index.offsets[first] : index.offsets[last]])
            # frames of other parts in between may have further elements
            every = np.union1d(elements, present)
            counts = index.composition(every, slice(first, last))[0][chosen - first]
            yield counts[:, np.isin(every, elements)], index.energy[chosen], index.free_atom[chosen]


def _symbols(sources: Sequence[Source]) -> set[str]:
    return {chemical_symbols[z] for s in sources for z in s.part.elements}
