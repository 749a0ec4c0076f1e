"""From the paths in a configuration to stores, parts, element references and the energy scale of a run."""

import json
import logging
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols

from gnnpot.data.bundled import bundled_path
from gnnpot.data.frame import Frame
from gnnpot.data.readers import read_files
from gnnpot.data.references import ElementReferences
from gnnpot.data.splits import split_by_count, split_by_frame, split_by_material
from gnnpot.data.store import FrameStore, write_store
from gnnpot.data.stress_check import StressSample, check_stress
from gnnpot.errors import ConfigError, DataError
from gnnpot.graphs import build_graph
from gnnpot.models import ModelConfig, ZBLConfig, build_model
from gnnpot.potential import Potential
from gnnpot.runs.files import write_text
from gnnpot.sampling.representative import choose_frames
from gnnpot.training.config import PARTS, DataConfig, RunConfig, TrainConfig
from gnnpot.training.resolve_model import settle
from gnnpot.training.sources import Mixture, Part, Source, place

log = logging.getLogger(__name__)

#: in the run's folder: the model with the symmetry functions that were chosen from the data
FUNCTIONS = "functions.json"
#: eV/Å; no scale of energies is set by larger ones
MAX_FORCE = 100.0
#: in the run's folder: the frames that were chosen, by their number in the store
CHOSEN = "chosen.json"


@dataclass(frozen=True, eq=False)
class PreparedData:
    """What training needs to know of its data."""

    train: Part
    validation: Part
    test: Part | None
    elements: tuple[str, ...]  #: of the training frames
    references: ElementReferences
    energy_scale: float  #: eV
    sources: tuple[Source, ...]  #: all that is trained on, the main source, whose frames are `train`, first
    model: ModelConfig | None = None  #: of fresh weights, with nothing left open

    @property
    def mixture(self) -> Mixture:
        """The training frames of all sources."""
        return Mixture(self.sources)

    @property
    def parts(self) -> dict[str, Part]:
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}

    def summary(self) -> dict:
        """Plain values for `data.json`."""
        parts = self.parts | {source.name: source.part for source in self.sources[1:]}
        return {
            "frames": {name: len(part) for name, part in parts.items()},
            "indices_crc32": {name: zlib.crc32(part.indices.tobytes()) for name, part in parts.items()},
            "store_sha256": {name: part.store.sha256 for name, part in parts.items()},
            "elements": list(self.elements),
            "energy_scale": self.energy_scale,
            "references": self.references.to_mapping(),
            "sources": {source.name: source.summary() for source in self.sources},
        }


def prepare(config: TrainConfig, *, write: bool = True) -> PreparedData:
    """Open or make the stores of a run, split them, check the stresses, fit the references.

    `write=False` expects what an earlier call has written (other processes of a run).
    Raises `DataError` where data and configuration do not fit together.
    """
    data, folder = config.data, config.run / "data"
    parts = open_parts(config, write=write)
    others = [_source(data, name, parts, folder / f"{name}.store", write) for name in data.sources]
    if config.loss.stress > 0 and data.check_stress:
        for source in others:
            if "stress" in source.config.labels:
                _require_stress(source.part.store, f"data.sources.{source.name}.reader.stress")
    sources = place(Source("train", parts["train"]), others, config.references)
    present = np.unique(np.concatenate([source.part.elements for source in sources]))
    elements = tuple(chemical_symbols[z] for z in present)
    for name, part in parts.items():
        _check_known(part, elements, name)
    mixture = Mixture(sources)
    scale = config.energy_scale or _force_scale(mixture.spread(config.statistics_frames))
    references = sources[0].references
    model = settle(config.model, elements, mixture.spread, config.run / FUNCTIONS, write=write)
    prepared = PreparedData(
        parts["train"], parts["validation"], parts.get("test"), elements, references, scale, sources, model
    )
    if write:
        remember(prepared.summary(), config.run / "data.json")
    for source in others:
        log.info("data: %d frames of %s", len(source.part), source.name)
    return prepared


def open_parts(config: RunConfig, *, write: bool = True) -> dict[str, Part]:
    """Open or make the stores of a run, check their stresses, and split them into train, validation and test."""
    stores = {
        name: _store(config.data, name, config.run / "data" / f"{name}.store", write)
        for name in PARTS
        if config.data.paths(name)
    }
    if config.loss.stress > 0 and config.data.check_stress:
        _require_stress(stores["train"], "data.reader.stress")
    parts = _parts(config.data, stores, config.run / CHOSEN, write)
    log.info("data: %s", ", ".join(f"{len(part)} {name} frames" for name, part in parts.items()))
    return parts


def resolve(path: Path) -> Path:
    """A path, or the file of `bundled:NAME`. Raises `DataError` if it does not exist."""
    scheme, _, name = str(path).partition(":")
    if scheme == "bundled":
        found = bundled_path()
        if found.name.split(".")[0] != name:
            raise DataError(f"{path}: there is no such bundled data set; known is bundled:{found.name.split('.')[0]}")
        return found
    if not path.exists():
        raise DataError(
            f"{path}: there is no such file or store; give a path that exists (it is relative to where you are)"
        )
    return path


def read_any(paths: Sequence[Path], config: DataConfig, skipped: Counter[str] | None = None) -> Iterator[Frame]:
    """The frames of files and stores, one after the other."""
    options = {f.name: getattr(config.reader, f.name) for f in fields(config.reader)}
    resolved = [resolve(path) for path in paths]
    for store, group in groupby(resolved, key=Path.is_dir):
        if store:
            for path in group:
                yield from FrameStore(path)
        else:
            yield from read_files(list(group), config.format, bad_frames=config.bad_frames, skipped=skipped, **options)


def _store(config: DataConfig, name: str, target: Path, write: bool) -> FrameStore:
    """The one store that `data.train` (or validation, test) names, or a new one of all that it names."""
    paths = [resolve(path) for path in config.paths(name)]
    if len(paths) == 1 and paths[0].is_dir():
        return FrameStore(paths[0])
    if write and not target.exists():
        skipped: Counter[str] = Counter()
        sample = StressSample()
        frames = sample.watch(read_any(paths, config, skipped))
        source = ", ".join(str(p) for p in config.paths(name))
        write_store(frames, target, source=source, filters=skipped, stress_check=lambda: sample.result().to_mapping())
        if skipped:
            log.warning("%s: left out %s", source, ", ".join(f"{n} frames ({why})" for why, n in skipped.items()))
    return FrameStore(target)


def _source(config: DataConfig, name: str, parts: dict[str, Part], target: Path, write: bool) -> Source:
    """A source besides the main one, without what that holds out. Raises `DataError` if nothing is left."""
    chosen = config.sources[name]
    reading = replace(config, train=chosen.train, format=chosen.format, reader=chosen.reader)
    store = _store(reading, "train", target, write)
    part = Part(store, np.arange(len(store))).without([p for n, p in parts.items() if n != "train"], config.split.by)
    if left := len(store) - len(part):
        log.info("%s: %d frames are left out; validation or test hold them or others of their material", name, left)
    if not len(part):
        raise DataError(
            f"data.sources.{name}: all its frames are of materials that validate or test; split otherwise, or remove it"
        )
    return Source(name, part, chosen)


def _require_stress(store: FrameStore, option: str) -> None:
    known = store.manifest.stress_check
    if known is None:
        check_stress(store)
    elif known.get("verdict") == "disagrees":
        raise DataError(
            f"{store.folder}: {known.get('meaning')}; name the convention with {option}, or set loss.stress=0"
        )


def _parts(config: DataConfig, stores: dict[str, FrameStore], chosen: Path, write: bool) -> dict[str, Part]:
    """Stores of their own as they are, the other parts drawn from the training store."""
    split = config.split
    wanted = {"validation": split.validation, "test": split.test}
    drawn = {name: share for name, share in wanted.items() if name not in stores and share > 0}
    if "validation" not in stores and "validation" not in drawn:
        raise ConfigError(
            "data: there is nothing to validate on; give data.validation, or data.split.validation above 0"
        )
    parts = {name: Part(store, np.arange(len(store))) for name, store in stores.items()}
    if drawn:
        fractions = {"train": 1.0 - sum(drawn.values()), **drawn}
        cut = {"material": split_by_material, "frame": split_by_frame, "count": split_by_count}[split.by]
        result = cut(stores["train"], fractions, seed=split.seed)
        parts |= {name: Part(stores["train"], result[name]) for name in fractions}
    if config.frames is not None:
        names = [name for name in ("train", "validation") if name == "train" or name in drawn]
        parts |= _thinned({name: parts[name] for name in names}, config, chosen, write)
    return parts


def _thinned(parts: dict[str, Part], config: DataConfig, path: Path, write: bool) -> dict[str, Part]:
    """`config.frames` frames of the parts in all.

    Representative ones are written to `path` (`write`), and read from there when the run goes on.
    """
    counts = _counts(parts, config.frames)
    if config.choose == "random":
        chosen = {
            name: np.random.default_rng(config.split.seed).permutation(part.indices)[: counts[name]]
            for name, part in parts.items()
        }
    elif path.exists():
        chosen = {name: np.array(indices, dtype=np.int64) for name, indices in json.loads(path.read_text()).items()}
    else:
        log.info("data: choosing %d of %d frames", config.frames, sum(map(len, parts.values())))
        chosen = {name: part.indices[choose_frames(part.frames, counts[name]).indices] for name, part in parts.items()}
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps({name: indices.tolist() for name, indices in chosen.items()}) + "\n")
    return {name: Part(part.store, np.sort(chosen[name])) for name, part in parts.items()}


def _counts(parts: dict[str, Part], count: int) -> dict[str, int]:
    """`count` frames in all, in the proportion of the parts, at least one of each."""
    total = sum(map(len, parts.values()))
    if count > total:
        raise ConfigError(f"data.frames: {count} are asked for, there are {total}; ask for fewer or leave it out")
    counts = {name: max(1, round(count * len(part) / total)) for name, part in parts.items()}
    counts["train"] += count - sum(counts.values())
    return counts


def _check_known(part: Part, elements: tuple[str, ...], name: str) -> None:
    if unseen := sorted({chemical_symbols[z] for z in part.elements} - set(elements)):
        raise DataError(f"the {name} frames have {', '.join(unseen)}, which no training frame has; split otherwise")


def _force_scale(frames: Iterable[Frame]) -> float:
    """Root mean square of the force components, eV/Å, times 1 Å; 1 eV if there are no forces.

    Frames whose own is above `MAX_FORCE` and a thousand times the median frame's have no part in it, and are logged.
    """
    labelled = [frame.forces for frame in frames if frame.forces is not None]
    squares = np.array([float(np.sum(forces**2)) for forces in labelled])
    sizes = np.array([forces.size for forces in labelled])
    if not len(sizes) or squares.sum() == 0:
        return 1.0
    own = np.sqrt(squares / sizes)
    far = (own > MAX_FORCE) & (own > 1000 * np.median(own))
    if far.any():
        largest = own.max()
        log.warning("%d of %d frames have forces of up to %.3g eV/Å, which set no scale", far.sum(), len(far), largest)
    return float(np.sqrt(squares[~far].sum() / sizes[~far].sum()))


def remember(summary: dict, path: Path) -> None:
    """Write what a run took from its data, or compare it with what an earlier session of the run has written."""
    summary = json.loads(json.dumps(summary))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
        return
    before = json.loads(path.read_text())
    for key in ("frames", "indices_crc32", "store_sha256", "elements"):
        if before.get(key) != summary[key]:
            raise DataError(f"{path}: the data have changed since the run began ({key}); restore them or begin afresh")


def build_potential(config: TrainConfig, prepared: PreparedData) -> Potential:
    """A potential with initial weights drawn from `config.seed`, scaled to the training frames."""
    model_config = prepared.model
    missing = sorted(set(prepared.elements) - set(model_config.elements))
    if missing:
        raise ConfigError(f"model.elements: {', '.join(missing)} is missing, which the training frames have")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        try:
            model = build_model(model_config)
        except ValueError as error:
            raise ConfigError(f"model: {error}") from None
    model.fit_statistics(
        build_graph(frame, model.cutoff, model.three_body_cutoff, labels=False)
        for frame in prepared.mixture.spread(config.statistics_frames)
    )
    terms = [build_model(ZBLConfig(elements=model_config.elements))] if config.zbl else []
    potential = Potential(model, prepared.references, energy_scale=prepared.energy_scale, terms=terms)
    return potential.to(getattr(torch, config.precision))
