"""Options of jobs, which are checked before they are sent to a process.

Example::

    check_options("md", {"temperature": 600}, "en")     # {"temperature": 600.0, "ensemble": "bussi", ...}
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gnnpot.errors import ConfigError
from gnnpot.studio.messages import say


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RelaxOptions(_Options):
    """Options of a relaxation."""

    fmax: float = Field(default=0.03, ge=0.0001, le=1, description="eV/Å")
    steps: int = Field(default=500, ge=1, le=20_000)
    cell: bool = False


class DynamicsOptions(_Options):
    """Options of molecular dynamics."""

    ensemble: Literal["bussi", "nve", "langevin", "nose-hoover", "npt-isotropic", "npt-full"] = "bussi"
    temperature: float = Field(default=300, gt=0, le=10_000, description="K")
    pressure: float = Field(default=0, ge=-100, le=1000, description="GPa")
    timestep: float = Field(default=1, ge=0.05, le=10, description="fs")
    steps: int = Field(default=2000, ge=1, le=1_000_000)
    interval: int = Field(default=10, ge=1, le=10_000)


class EquationOfStateOptions(_Options):
    """Options of an equation of state."""

    width: float = Field(default=0.06, gt=0.005, le=0.3)
    points: Annotated[int, Field(ge=5, le=41)] = 11


class ElasticOptions(_Options):
    """Options of the elastic constants."""

    max_strain: float = Field(default=0.01, ge=0.001, le=0.05)
    fmax: float = Field(default=0.005, ge=0.0001, le=0.1, description="eV/Å")


class PhononOptions(_Options):
    """Options of phonons."""

    min_length: float = Field(default=10.0, ge=3, le=40, description="Å")
    displacement: float = Field(default=0.01, ge=0.001, le=0.2, description="Å")
    fmax: float = Field(default=0.001, ge=0.0001, le=0.1, description="eV/Å")


OPTIONS: dict[str, type[_Options]] = {
    "relax": RelaxOptions, "md": DynamicsOptions, "eos": EquationOfStateOptions,
    "elastic": ElasticOptions, "phonons": PhononOptions,
}  # fmt: skip
#: kinds of jobs that need a periodic crystal
NEED_CELL = {"eos", "elastic", "phonons"}


def check_options(kind: str, given: dict[str, Any], language: str) -> dict[str, Any]:
    """Check the options of a job and fill in defaults.

    Args:
        kind: Kind of the job, a key of `OPTIONS`.
        given: Options that differ from the defaults.
        language: Language of the error, `en` or `ja`.

    Returns:
        All options of the job.

    Raises:
        ConfigError: The kind or an option is not known, or a value is not allowed.
    """
    if kind not in OPTIONS:
        raise ConfigError(say("bad_message", language))
    try:
        return OPTIONS[kind].model_validate(given).model_dump()
    except ValidationError as found:
        first = found.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "options"
        raise ConfigError(say("wrong_option", language, name=name, reason=first["msg"])) from None
