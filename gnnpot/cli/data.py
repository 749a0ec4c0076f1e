"""`gnnpot data`: convert files to stores, show their contents, split them."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from gnnpot.cli.common import changed_options
from gnnpot.cli.console import Console
from gnnpot.cli.order import order
from gnnpot.cli.results import JsonOption, show
from gnnpot.domains import FRACTION, INTEGER_FROM_0, INTEGER_FROM_1
from gnnpot.errors import ConfigError, counted
from gnnpot.runs.json_text import to_json

if TYPE_CHECKING:
    from gnnpot.data.frame import Frame
    from gnnpot.data.manifest import Manifest
    from gnnpot.data.splits import Split
    from gnnpot.data.store import FrameStore

#: copies of the names in the readers and stores, so that `--help` need not import them; a test compares both
FORMATS = ("ase-db", "ase-lmdb", "ase-traj", "deepmd", "espresso", "extxyz", "gpaw", "n2p2", "outcar", "vasprun")
CONVENTIONS = ("ase", "vasp-kbar", "gpa", "virial", "lammps", "espresso")
FRACTIONS = {"train": 0.9, "validation": 0.05, "test": 0.05}

app = typer.Typer(help="Convert, inspect and split labelled frames.", no_args_is_help=True)
app.command("order")(order)

_KEY = "Key of this label in the file; '': do not read it; default: the usual names."
_STRESS = (
    f"Stress convention of the file: {', '.join(CONVENTIONS)}, or unit:sign:order, as 'gpa:tension:xx yy zz xy yz zx'."
)
_MATERIAL = "Key of the material, which splits keep in one part; or 'formula', or 'frame'."
_OPTION = "Additional option of the format's reader, as unconverged=keep. May be repeated."

FormatOption = Annotated[
    str | None, typer.Option(help=f"Format: {', '.join(FORMATS)}, or one of a plug-in; default: detected.")
]
EnergyKey = Annotated[str | None, typer.Option(help=_KEY)]
ForcesKey = Annotated[str | None, typer.Option(help=_KEY)]
StressKey = Annotated[str | None, typer.Option(help=_KEY)]
MagmomsKey = Annotated[str | None, typer.Option(help=_KEY)]
StressOption = Annotated[str | None, typer.Option(help=_STRESS)]
ReaderOption = Annotated[list[str] | None, typer.Option("--option", help=_OPTION)]


class BadFrames(StrEnum):
    """Choices of `--bad-frames`."""

    stop = "raise"
    skip = "skip"


class By(StrEnum):
    """Choices of `--by`."""

    material = "material"
    frame = "frame"
    source = "source"


@app.command()
def convert(
    inputs: Annotated[list[Path], typer.Argument(help="Files (or DeepMD folders) of frames, in one convention.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the store.")],
    format: FormatOption = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    magmoms_key: MagmomsKey = None,
    stress: StressOption = None,
    material_key: Annotated[str | None, typer.Option(help=_MATERIAL)] = None,
    code: Annotated[str, typer.Option(help="DFT code and version, if the file does not contain them.")] = "",
    functional: Annotated[str, typer.Option(help="Functional, if the file does not contain it.")] = "",
    source: Annotated[str, typer.Option(help="Origin of the data for the manifest; default: file names.")] = "",
    option: ReaderOption = None,
    bad_frames: Annotated[BadFrames, typer.Option(help="Stop at an invalid frame, or skip it.")] = BadFrames.stop,
    shard_size: Annotated[int, INTEGER_FROM_1, typer.Option(help="Frames per file of the store.")] = 65536,
    check: Annotated[
        bool, typer.Option("--check-stress/--no-check-stress", help="Check sign and unit of stresses by energies.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing store.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Convert files to a store of validated frames with a manifest.

    Example: gnnpot data convert Cu_train.extxyz.gz Cu_test.extxyz.gz -o cu.store --functional PBE

    Example: gnnpot data convert run.xyz -o run.store --energy-key REF_energy --stress vasp-kbar --bad-frames skip

    Example: gnnpot data convert */vasprun.xml.gz -o vasp.store --bad-frames skip
    """
    from gnnpot.config import to_mapping
    from gnnpot.data.readers import read_files
    from gnnpot.data.store import STORE, write_store
    from gnnpot.data.stress_check import StressSample
    from gnnpot.runs.guard import check_folder, check_not_input

    options = _reader_options(
        energy_key=energy_key, forces_key=forces_key, stress_key=stress_key, magmoms_key=magmoms_key, stress=stress,
        material_key=material_key, code=code, functional=functional, more=option,
    )  # fmt: skip
    skipped: Counter[str] = Counter()
    check_not_input({"output": output}, inputs)
    check_folder(output, overwrite=overwrite, kind=STORE)
    frames = read_files(inputs, format, bad_frames=bad_frames.value, skipped=skipped, **options)
    sample = StressSample()
    if check:
        frames = sample.watch(frames)
    where = ", ".join(str(path) for path in inputs)
    with _counted(frames, "converting") as counted:
        store = write_store(
            counted,
            output,
            shard_size=shard_size,
            source=source or ", ".join(path.name for path in inputs),
            filters=skipped,
            stress_check=(lambda: sample.result().require(where).to_mapping()) if check else None,
            overwrite=overwrite,
        )
    show(as_json, to_mapping(store.manifest), lambda: manifest_table(store.manifest, str(output)))


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="A store, or a file (or DeepMD folder) of frames.")],
    format: FormatOption = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    magmoms_key: MagmomsKey = None,
    stress: StressOption = None,
    option: ReaderOption = None,
    ranges: Annotated[
        bool, typer.Option("--ranges/--no-ranges", help="Show the ranges of values, for which all frames are read.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Show counts, elements, labels and ranges of a store or a file. Bad frames of a file are counted.

    Example: gnnpot data info cu.store

    Example: gnnpot data info Cu_train.extxyz.gz
    """
    from gnnpot.config import to_mapping
    from gnnpot.data.bundled import resolve_bundled
    from gnnpot.data.manifest import MANIFEST, Tally
    from gnnpot.data.readers import is_frame_folder, read_frames
    from gnnpot.data.store import FrameStore
    from gnnpot.data.stress_check import StressSample

    path = resolve_bundled(path)
    options = _reader_options(
        energy_key=energy_key, forces_key=forces_key, stress_key=stress_key, magmoms_key=magmoms_key,
        stress=stress, more=option,
    )  # fmt: skip
    skipped: Counter[str] = Counter()
    values = _Ranges()
    if (path / MANIFEST).exists() or (path.is_dir() and not is_frame_folder(path)):
        if (options or format) and (path / MANIFEST).exists():
            words = "whose labels are known; leave out --format, --stress, --…-key and --option"
            raise ConfigError(f"{path}: is a store, {words}")
        store = FrameStore(path, verify="sha256")
        if ranges:
            with _counted(store, "reading") as frames:
                values.add_all(frames)
        manifest = store.manifest
    else:
        tally, sample = Tally(), StressSample()
        with _counted(read_frames(path, format, bad_frames="skip", skipped=skipped, **options), "reading") as frames:
            for frame in sample.watch(frames):
                tally.add(frame)
                if ranges:
                    values.add(frame)
        check = sample.result().to_mapping()
        manifest = tally.manifest([], 0, "", skipped, check)
    if as_json:
        typer.echo(to_json({**to_mapping(manifest), "ranges": values.mapping()}))
        return
    console = Console()
    console.print(manifest_table(manifest, str(path)))
    if values.frames:
        console.print(values.table())


@app.command()
def split(
    store: Annotated[Path, typer.Argument(help="Folder of the store.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Output file (JSON).")],
    by: Annotated[
        By, typer.Option(help="Unit of the split: material, frame, or source (the published files).")
    ] = By.material,
    fractions: Annotated[str, typer.Option(help="Names and fractions of the parts.")] = ",".join(
        f"{k}={v}" for k, v in FRACTIONS.items()
    ),
    part: Annotated[
        list[str] | None, typer.Option(help="With --by source: part=source, as test=Cu_test. May be repeated.")
    ] = None,
    validation: Annotated[
        float, FRACTION, typer.Option(help="With --by source: fraction of train that is used for validation.")
    ] = 0.0,
    seed: Annotated[int, INTEGER_FROM_0, typer.Option(help="Seed of the random split.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Split a store into parts that share no material, and write the split to a file.

    Example: gnnpot data split mp.store -o split.json --fractions train=0.9,validation=0.05,test=0.05

    Example: gnnpot data split cu.store -o split.json --by source --part train=Cu_train --part test=Cu_test
    """
    from gnnpot.data.splits import split_by_frame, split_by_material, split_by_source
    from gnnpot.data.store import FrameStore
    from gnnpot.runs.guard import check_file

    check_file(output, overwrite=overwrite)
    opened = FrameStore(store)
    if by != By.source and (part or validation):
        raise ConfigError("--part and --validation belong to --by source; add it or leave them out")
    without_effect = ("fractions",) if validation else ("fractions", "seed")
    if by == By.source and (unused := changed_options(split, locals(), without_effect)):
        raise ConfigError(f"{', '.join(unused)}: has no effect on a split by the published files; leave it out")
    if by == By.source:
        if not part:
            raise ConfigError("--by source needs --part train=NAME and the like; 'gnnpot data info' lists the sources")
        made = split_by_source(opened, _pairs(part, "--part"), validation, seed)
    else:
        sizes = {
            name: _number(value, "--fractions") for name, value in _pairs(fractions.split(","), "--fractions").items()
        }
        made = (split_by_material if by == By.material else split_by_frame)(opened, sizes, seed)
    made.save(output, overwrite=overwrite)
    if as_json:
        parts = {name: len(indices) for name, indices in made.parts.items()}
        counts = {name: getattr(made, name) for name in ("shared_materials", "shared_structures", "shared_energies")}
        typer.echo(to_json({"output": output, "by": made.by, "frames": parts, **counts}))
        return
    console = Console()
    console.print(_split_table(opened, made, str(output)))
    shared = f"{made.shared_materials} materials, {made.shared_structures} structures, {made.shared_energies} energies"
    console.print(f"in several parts: {shared}")


def _reader_options(more: list[str] | None, **options: str | None) -> dict[str, str]:
    """Return the options that were given. An empty value counts as given only for label keys."""
    given = {k: v for k, v in options.items() if v is not None and (v or k.endswith("_key"))}
    return given | _pairs(more or [], "--option")


#: names of the parts of a split
_PART = re.compile(r"[\w-]+")


def _pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value.strip() or not _PART.fullmatch(name.strip()):
            raise ConfigError(f"{option} {text}: expected name=value, with a name of letters, digits, '-' and '_'")
        if name.strip() in pairs:
            raise ConfigError(f"{option} {text}: '{name.strip()}' is given twice; give it once")
        pairs[name.strip()] = value.strip()
    return pairs


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{option}: '{text}' is no number") from None


@contextmanager
def _counted(frames: "Iterable[Frame]", verb: str) -> "Iterator[Iterator[Frame]]":
    """Yield the frames, and show their count and rate on the terminal."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description} {task.completed} frames"),
        TextColumn("{task.fields[rate]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(verb, total=None, rate="")

        def passing() -> "Iterator[Frame]":
            for n, frame in enumerate(frames, 1):
                yield frame
                if n % 50 == 0:
                    elapsed = progress.tasks[0].elapsed or 1e-9
                    progress.update(task, completed=n, rate=f"{n / elapsed:.0f}/s")

        yield passing()


def manifest_table(manifest: "Manifest", name: str) -> Table:
    """Return the contents of a store as a table."""
    table = Table("", name, box=SIMPLE_HEAD, show_header=True)
    table.add_row("frames", f"{manifest.frames}")
    table.add_row("atoms", f"{manifest.atoms}")
    elements = sorted(manifest.elements.items(), key=lambda item: -item[1])
    table.add_row(f"elements ({len(elements)})", " ".join(f"{symbol}:{count}" for symbol, count in elements))
    for label, count in manifest.labels.items():
        table.add_row(label, f"{count} of {counted(manifest.frames, 'frame')} ({count / max(manifest.frames, 1):.0%})")
    for title, counts in (("source", manifest.sources), ("code", manifest.codes), ("left out", manifest.filters)):
        for word, count in counts.items():
            table.add_row(title, f"{word}: {count}")
    check = manifest.stress_check
    if check is not None:
        table.add_row("stress check", str(check["meaning"]))
    if manifest.shards:
        size = sum(shard.bytes for shard in manifest.shards)
        table.add_row("on disk", f"{len(manifest.shards)} shards, {size / 1e6:.1f} MB")
    return table


def _split_table(store: "FrameStore", made: "Split", name: str) -> Table:
    index = store.index()
    import numpy as np

    table = Table("part", "frames", "atoms", "materials", box=SIMPLE_HEAD, title=f"{name}, by {made.by}")
    for part, indices in made.parts.items():
        materials = len(np.unique(index.material[indices]))
        table.add_row(part, str(len(indices)), str(int(index.n_atoms[indices].sum())), str(materials))
    return table


class _Ranges:
    """Minimum, mean and maximum of quantities of frames."""

    def __init__(self) -> None:
        self.frames = 0
        self._rows: dict[str, list[float]] = {}

    def add_all(self, frames: "Iterable[Frame]") -> None:
        for frame in frames:
            self.add(frame)

    def add(self, frame: "Frame") -> None:
        import numpy as np

        from gnnpot.data.quantities import QUANTITIES
        from gnnpot.units import GPA

        self.frames += 1
        n = len(frame)
        self._note("atoms per frame", n)
        if frame.pbc.all():
            self._note("volume, Å³ per atom", frame.volume / n)
        if frame.energy is not None:
            self._note("energy, eV per atom", frame.energy / n)
        if frame.forces is not None:
            self._note("largest force, eV/Å", float(np.linalg.norm(frame.forces, axis=1).max()))
        if frame.stress is not None:
            self._note("pressure, GPa", -float(frame.stress[:3].mean()) / GPA)
        for name, value in frame.labels.items():
            quantity = QUANTITIES[name]
            if name != "energy" and not quantity.derivative:
                self._note(f"largest {quantity.short}, {quantity.unit}", float(np.abs(value).max()))

    def _note(self, name: str, value: float) -> None:
        low, high, total, count = self._rows.get(name, (math.inf, -math.inf, 0.0, 0))
        self._rows[name] = [min(low, value), max(high, value), total + value, count + 1]

    def mapping(self) -> dict[str, dict[str, float]]:
        """Minimum, mean and maximum of each quantity."""
        return {
            name: {"least": low, "mean": total / count, "largest": high}
            for name, (low, high, total, count) in self._rows.items()
        }

    def table(self) -> Table:
        table = Table("", "least", "mean", "largest", box=SIMPLE_HEAD)
        for name, (low, high, total, count) in self._rows.items():
            table.add_row(name, f"{low:.6g}", f"{total / count:.6g}", f"{high:.6g}")
        return table
