"""Queries of the API of the Materials Project for data that are not in the table: ids, deprecation, magnetic moments.

    interface = TaskInterface(key=os.environ["MP_API_KEY"])
    tasks = query_tasks(table, curation, interface, folder, progress=lambda done, count, words: ...)
    curate(DeltaSource(table, tasks), curation, "mp.store")

A first pass over narrow columns of the table finds the selected tasks and their last energies. Then the API is queried
for `PAGE` tasks at a time. The results for each file of the table and for each page are saved in `folder`, so that
interrupted queries can be resumed. One `MPTask` for each trajectory is in memory.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnnpot.data.mp.delta import TrajectoryTable
from gnnpot.data.mp.filters import Curation
from gnnpot.data.mp.trajectories import ENERGY_COLUMN, MPTask, last_energies
from gnnpot.errors import DataError
from gnnpot.runs.files import write_bytes

log = logging.getLogger(__name__)

#: number of tasks per request
PAGE = 200
_SURVEY = pa.schema([("identifier", pa.string()), ("run_type", pa.string()), ("last_energy", pa.float64())])
_ANSWER = pa.schema(
    [
        ("identifier", pa.string()),
        ("material_id", pa.string()),
        ("deprecated", pa.bool_()),
        ("magmoms", pa.list_(pa.float64())),
    ]
)
Show = Callable[[float, int, str], None]


@dataclass(frozen=True)
class TaskInterface:
    """The API of the Materials Project, accessed with the client mp-api."""

    key: str  #: API key of the user, 32 characters
    endpoint: str | None = None  #: address of the API; `None` for that of the Materials Project
    magmoms: bool = False  #: also query the magnetic moments of final structures

    def answers(self, identifiers: Sequence[str]) -> list[dict[str, Any]]:
        """Query material, deprecation and moments of tasks; unknown tasks are omitted. Raises `DataError`."""
        import requests
        from mp_api.client import MPRestError

        try:
            return self._answers(identifiers)
        except (MPRestError, requests.RequestException, KeyError, ValueError) as error:
            # mp-api raises KeyError or ValueError for invalid responses
            said = re.sub(r"on URL \S+ ", "", " ".join(str(error).split()))[:200]
            remedy = "check the key" if "401" in said or "API key" in said else "run the same command again to resume"
            problem = f"{type(error).__name__}: {said}"
            raise DataError(f"the Materials Project's interface did not answer ({problem}); {remedy}") from None

    def _answers(self, identifiers: Sequence[str]) -> list[dict[str, Any]]:
        names = {canonical(name): name for name in identifiers}
        # the client only accepts the letters of a task with this prefix
        asked = [f"mp-{name}" for name in identifiers]
        found: dict[int, dict[str, Any]] = {}
        fields = ["material_id", "task_ids", "deprecated", "deprecated_tasks"]
        for doc in self._client.materials.search(task_ids=asked, deprecated=None, fields=fields):
            withdrawn = {canonical(name) for name in doc.get("deprecated_tasks") or []}
            for task in map(canonical, doc.get("task_ids") or []):
                if task in names:
                    deprecated = bool(doc.get("deprecated")) or task in withdrawn
                    found[task] = {"material_id": str(doc["material_id"]), "deprecated": deprecated, "magmoms": None}
        if self.magmoms:
            for doc in self._client.materials.tasks.search(task_ids=asked, fields=["task_id", "structure"]):
                task = canonical(doc["task_id"])
                if task in found:
                    found[task]["magmoms"] = _moments(doc.get("structure"))
        return [{"identifier": names[task], **row} for task, row in sorted(found.items())]

    @cached_property
    def _client(self) -> Any:
        from mp_api.client import MPRester

        return MPRester(self.key, endpoint=self.endpoint, use_document_model=False, mute_progress_bars=True)


def canonical(identifier: str) -> int:
    """Return the number of a task id, written as mp-149, mp-aaaaaaft or aaaaaaft."""
    from emmet.core.mpid import AlphaID

    return int(AlphaID(str(identifier)))


def query_tasks(
    table: TrajectoryTable, curation: Curation, interface: TaskInterface, folder: Path, progress: Show
) -> dict[tuple[str, str], MPTask]:
    """Query the API for all selected trajectories; return the results by (identifier, run type).

    Responses are saved in `folder` until the store is finished. A task that is unknown to the API has no material id,
    and its own last energy as final energy. Raises `DataError` if the API does not respond.
    """
    wanted = {
        **table.identity, "run_types": list(curation.run_types), "task_types": list(curation.task_types),
        "elements": list(curation.elements), "energy": curation.energy, "page": PAGE, "endpoint": interface.endpoint,
        "magmoms": interface.magmoms,
    }  # fmt: skip
    name = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:12]
    folder = folder / f"asked-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    survey = _survey(table, curation, folder, progress)
    identifiers = sorted(set(survey["identifier"].to_pylist()))
    answers = _answers(interface, identifiers, folder, progress)
    return _joined(survey, answers)


def _survey(table: TrajectoryTable, curation: Curation, folder: Path, progress: Show) -> pa.Table:
    """Return identifier, run type and last energy per atom of all selected trajectories."""
    columns = ["identifier", "run_type", "elements", ENERGY_COLUMN[curation.energy or "free"]]
    parts = sorted(folder.glob("survey-*.parquet"))
    tables = [pq.read_table(path) for path in parts]
    rows: list[pa.Table] = []
    number = len(parts)
    for chunk in table.rows(curation, columns, (number, 0, 0)):
        if chunk.after[0] != number:
            tables.append(_store(rows, _SURVEY, folder / f"survey-{number:05d}.parquet"))
            rows, number = [], chunk.after[0]
        if chunk.columns:
            last = last_energies(chunk.columns["elements"], chunk.columns[columns[-1]])
            arrays = [chunk.columns["identifier"], chunk.columns["run_type"], pa.array(last)]
            rows.append(pa.table(arrays, schema=_SURVEY))
        progress(0.1 * chunk.done, sum(len(t) for t in (*tables, *rows)), "trajectories found")
    tables.append(_store(rows, _SURVEY, folder / f"survey-{number:05d}.parquet") if rows else _SURVEY.empty_table())
    return pa.concat_tables(tables)


def _answers(interface: TaskInterface, identifiers: list[str], folder: Path, progress: Show) -> pa.Table:
    tables = [_ANSWER.empty_table()]
    for number, start in enumerate(range(0, len(identifiers), PAGE)):
        path = folder / f"page-{number:05d}.parquet"
        if path.exists():
            tables.append(pq.read_table(path))
        else:
            rows = interface.answers(identifiers[start : start + PAGE])
            tables.append(_store([pa.Table.from_pylist(rows, schema=_ANSWER)], _ANSWER, path))
        asked = min(start + PAGE, len(identifiers))
        progress(0.1 + 0.9 * asked / len(identifiers), asked, f"of {len(identifiers)} tasks asked for")
    return pa.concat_tables(tables)


def _joined(survey: pa.Table, answers: pa.Table) -> dict[tuple[str, str], MPTask]:
    """Return an `MPTask` for each trajectory.

    The final energy is the lowest last energy of the material's tasks with the same run type.
    """
    known = {row["identifier"]: row for row in answers.to_pylist()}
    keys = list(zip(survey["identifier"].to_pylist(), survey["run_type"].to_pylist(), strict=True))
    last = dict(zip(keys, survey["last_energy"].to_pylist(), strict=True))
    lowest: dict[tuple[str, str], float] = {}
    for (identifier, run_type), energy in last.items():
        row = known.get(identifier)
        if row and not row["deprecated"] and not np.isnan(energy):
            group = (row["material_id"], run_type)
            lowest[group] = min(energy, lowest.get(group, np.inf))
    unknown = sum(identifier not in known for identifier, _ in keys)
    if unknown:
        log.warning("%d of %d trajectories are of tasks that the interface does not know", unknown, len(keys))
    tasks = {}
    for (identifier, run_type), energy in last.items():
        row = known.get(identifier, {"material_id": "", "deprecated": False, "magmoms": None})
        final = lowest.get((row["material_id"], run_type), energy)
        moments = tuple(row["magmoms"] or ())
        tasks[identifier, run_type] = MPTask(row["material_id"], row["deprecated"], final, moments)
    return tasks


def _store(tables: list[pa.Table], schema: pa.Schema, path: Path) -> pa.Table:
    """Concatenate tables, and write the result to disk."""
    table = pa.concat_tables([schema.empty_table(), *tables])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_bytes(path, sink.getvalue().to_pybytes())
    return table


def _moments(structure: dict | None) -> list[float] | None:
    """Return the magnetic moments of a pymatgen dict, `None` unless all sites have one."""
    sites = (structure or {}).get("sites", [])
    moments = [(site.get("properties") or {}).get("magmom") for site in sites]
    known = [float(moment) for moment in moments if moment is not None]
    return known if known and len(known) == len(sites) else None
