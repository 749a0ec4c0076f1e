"""`gnnpot data mp`: curated store from Materials Project trajectories, MPtrj or MatPES."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnnpot.cli.console import Console
from gnnpot.cli.data import manifest_table
from gnnpot.cli.results import JsonOption, show
from gnnpot.domains import INTEGER_FROM_0, INTEGER_FROM_1
from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.json_text import to_json

if TYPE_CHECKING:
    from gnnpot.data.mp.filters import Curation
    from gnnpot.data.mp.pipeline import FrameSource

KEY = "MP_API_KEY"

IdsOption = Annotated[bool, typer.Option("--with-ids", help=f"Query material ids and deprecation; needs {KEY}.")]
MagmomsOption = Annotated[
    bool, typer.Option("--with-magmoms", help=f"Query magnetic moments of the last frames; needs {KEY}.")
]
TableOption = Annotated[
    str | None, typer.Option(help="URI of a Delta table; default: the Materials Project's table on public S3.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(mp)
    app.command()(report)


def mp(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the store.")],
    table: TableOption = None,
    table_version: Annotated[int | None, INTEGER_FROM_0, typer.Option(help="Table version; default: newest.")] = None,
    mptrj: Annotated[Path | None, typer.Option(help="Read this MPtrj JSON file (or .gz) instead of a table.")] = None,
    matpes: Annotated[Path | None, typer.Option(help="Read this MatPES JSON file (or .gz) instead of a table.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="YAML file of the selection of frames.")] = None,
    run_types: Annotated[str | None, typer.Option(help="Run types, as GGA,GGA+U (default) or r2SCAN.")] = None,
    task_types: Annotated[str | None, typer.Option(help="Default: 'Structure Optimization,Static'.")] = None,
    elements: Annotated[str | None, typer.Option(help="Keep only frames without other elements, as Li,Fe,P,O.")] = None,
    energy: Annotated[str | None, typer.Option(help="Energy label: free (e_fr_energy) or zero (sigma -> 0).")] = None,
    corrections: Annotated[str | None, typer.Option(help="Energy corrections to add: none or mp2020.")] = None,
    with_ids: IdsOption = False,
    with_magmoms: MagmomsOption = False,
    endpoint: Annotated[str | None, typer.Option(help="Address of the API; default: the Materials Project's.")] = None,
    limit: Annotated[int | None, INTEGER_FROM_1, typer.Option(help="Stop after this number of frames.")] = None,
    shard_size: Annotated[int, INTEGER_FROM_1, typer.Option(help="Frames per file of the store.")] = 16384,
    check: Annotated[
        bool, typer.Option("--check-stress/--no-check-stress", help="Check sign and unit of stresses by energies.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing store.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read relaxation trajectories, filter out frames that are unsuitable for training, and write a store.

    An interrupted command is resumed by the same command, after the last complete file of the store. A few dozen
    trajectories are in memory at a time, for a table of any size; --with-ids needs one more line of text per
    trajectory. 'gnnpot data report' shows what was filtered out.

    Example: gnnpot data mp -o mp.store --run-types GGA,GGA+U --corrections mp2020

    Example: gnnpot data mp -o trial.store --elements Li,Fe,P,O --limit 10000

    Example: gnnpot data mp -o mptrj.store --mptrj MPtrj_2022.9_full.json
    """
    from gnnpot.config import to_mapping
    from gnnpot.data.mp.pipeline import curate

    given = {"run_types": run_types, "task_types": task_types, "elements": elements}
    options: dict[str, Any] = {
        name: [w.strip() for w in text.split(",")] for name, text in given.items() if text is not None
    }
    options |= {k: v for k, v in (("energy", energy), ("corrections", corrections)) if v is not None}
    curation = _curation(config, options)
    _refuse_unused(locals())
    if output.exists() and not overwrite:
        raise DataError(f"{output}: exists already; give another name, or --overwrite")
    asking = (with_ids or with_magmoms, with_magmoms, endpoint)
    source = _source(output, curation, table, table_version, mptrj, matpes, asking)
    with _bar("reading") as advance:
        store = curate(
            source, curation, output, shard_size=shard_size, limit=limit, check_stress=check, overwrite=overwrite,
            progress=lambda p: advance(p.done, p.read, f"{p.kept} kept"),
        )  # fmt: skip
    show(as_json, to_mapping(store.manifest), lambda: manifest_table(store.manifest, str(output)))


def _refuse_unused(given: dict[str, Any]) -> None:
    """Raise `ConfigError` for a second source, and for options that the source does not use."""
    ids = given["with_ids"] or given["with_magmoms"]
    of_files = given["mptrj"] is not None or given["matpes"] is not None
    if sum(given[name] is not None for name in ("table", "mptrj", "matpes")) > 1:
        raise ConfigError("--table, --mptrj and --matpes are three sources; name one")
    if of_files and (ids or given["table_version"] is not None):
        raise ConfigError("--with-ids, --with-magmoms and --table-version belong to the table; leave them out")
    if of_files and given["task_types"] is not None:
        raise ConfigError("--task-types: selects tasks of the table, MPtrj and MatPES do not name them; leave it out")
    if given["endpoint"] is not None and not ids:
        raise ConfigError("--endpoint: is asked only for --with-ids and --with-magmoms; add one, or leave it out")


def report(
    store: Annotated[Path, typer.Argument(help="Store written by 'gnnpot data mp'.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Output folder of the report.")],
    as_json: JsonOption = False,
) -> None:
    """Report which frames were filtered out and why: counts, elements, energies, forces (HTML and PNG).

    Example: gnnpot data report mp.store -o report
    """
    from gnnpot.data.mp.report import write_curation_report
    from gnnpot.data.store import FrameStore

    made = write_curation_report(FrameStore(store, verify="size").manifest, output)
    if as_json:
        typer.echo(to_json({"report": made}))
    else:
        Console(soft_wrap=True).print(str(made), markup=False, highlight=False)


def _curation(config: Path | None, options: dict[str, Any]) -> "Curation":
    from gnnpot.config import from_mapping, read_yaml
    from gnnpot.data.mp.filters import Curation

    mapping = read_yaml(config) if config else {}
    if not isinstance(mapping, dict):
        raise ConfigError(f"{config}: expected a mapping of options; see 'gnnpot data mp --help'")
    return from_mapping(Curation, {**mapping, **options}, where=str(config or "gnnpot data mp"))


def _source(
    output: Path, curation: "Curation", table: str | None, version: int | None, mptrj: Path | None,
    matpes: Path | None, asking: tuple[bool, bool, str | None],
) -> "FrameSource":  # fmt: skip
    if mptrj is not None:
        from gnnpot.data.mp.files import MPtrjFile

        return MPtrjFile(mptrj)
    if matpes is not None:
        from gnnpot.data.mp.files import MatPESFile

        return MatPESFile(matpes)
    from gnnpot.data.builder import unfinished_folder, unfinished_identity
    from gnnpot.data.mp.delta import MP_TABLE, DeltaSource, TrajectoryTable

    ids, magmoms, endpoint = asking
    key = os.environ.get(KEY, "")
    if ids and not key:
        raise ConfigError(f"--with-ids and --with-magmoms need a key of the Materials Project in {KEY}; set it")
    uri = table or MP_TABLE
    begun = unfinished_identity(output)
    if version is None and begun and begun.get("source", {}).get("table") == uri:
        version = begun["source"]["version"]
    opened = TrajectoryTable.open(uri, version)
    if not ids:
        return DeltaSource(opened)
    from gnnpot.data.mp.rest import TaskInterface, query_tasks

    with _bar("asking") as show:
        tasks = query_tasks(opened, curation, TaskInterface(key, endpoint, magmoms), unfinished_folder(output), show)
    return DeltaSource(opened, tasks)


@contextmanager
def _bar(verb: str) -> Iterator[Callable[[float, int, str], None]]:
    """Progress bar; yields a function of the fraction done, a count, and a text."""
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(verb, total=1.0, count="")
        start: list[int] = []

        def show(done: float, count: int, words: str = "") -> None:
            start.append(count) if not start else None
            rate = (count - start[0]) / max(progress.tasks[0].elapsed or 0.0, 1e-9)
            progress.update(task, completed=done, count=f"{count} ({rate:.0f}/s) {words}")

        yield show
