"""Curated pretraining stores from trajectories of the Materials Project, MPtrj and MatPES.

    source = DeltaSource(TrajectoryTable.open())                     # the published table
    store = curate(source, Curation(run_types=("GGA", "GGA+U")), "mp.store")
    write_curation_report(store.manifest, "report")

Data flow: `delta.py` (with `trajectories.py`) or `files.py` create `FrameBatch`es (`batch.py`), `filters.py` selects
frames, `corrections.py` adds MP2020 corrections, and `pipeline.py` writes the frames with `gnnpot.data.builder`.
`rest.py` queries properties that are not in the table; `statistics.py` counts frames for `report.py`.
"""

from gnnpot.data.mp.batch import FrameBatch
from gnnpot.data.mp.delta import MP_TABLE, DeltaSource, TrajectoryTable
from gnnpot.data.mp.files import MatPESFile, MPtrjFile
from gnnpot.data.mp.filters import Curation, Filter, default_filters
from gnnpot.data.mp.pipeline import CurationProgress, curate
from gnnpot.data.mp.report import write_curation_report
from gnnpot.data.mp.rest import TaskInterface, query_tasks

__all__ = [
    "MP_TABLE",
    "Curation",
    "CurationProgress",
    "DeltaSource",
    "Filter",
    "FrameBatch",
    "MPtrjFile",
    "MatPESFile",
    "TaskInterface",
    "TrajectoryTable",
    "curate",
    "default_filters",
    "query_tasks",
    "write_curation_report",
]
