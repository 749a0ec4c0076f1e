"""The Materials Project's relaxation trajectories, MPtrj and MatPES -> curated stores to pretrain on.

    source = DeltaSource(TrajectoryTable.open())                     # the published table, read in bulk
    store = curate(source, Curation(run_types=("GGA", "GGA+U")), "mp.store")
    write_curation_report(store.manifest, "report")

Data flow: `delta.py` (with `trajectories.py`) or `files.py` make `FrameBatch`es (`batch.py`), `filters.py` chooses,
`corrections.py` adds MP2020, `pipeline.py` writes them through `gnnpot.data.builder`; `rest.py` brings what the table
lacks; `statistics.py` counts for `report.py`.
"""

from gnnpot.data.mp.batch import FrameBatch
from gnnpot.data.mp.delta import MP_TABLE, DeltaSource, TrajectoryTable
from gnnpot.data.mp.files import MatPESFile, MPtrjFile
from gnnpot.data.mp.filters import Curation, Filter, default_filters
from gnnpot.data.mp.pipeline import CurationProgress, curate
from gnnpot.data.mp.report import write_curation_report
from gnnpot.data.mp.rest import TaskInterface, ask_about_tasks

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
    "ask_about_tasks",
    "curate",
    "default_filters",
    "write_curation_report",
]
