"""Configuration of labelling.

# label.yaml
seed: 7
limits: {max_force: 100}
distortions:
  - {kind: original}
  - {kind: rattled, rattle: 0.1, count: 4}
  - {kind: scaled, volume: [0.6, 1.5], rattle: 0.05, count: 2}
  - {kind: melted, temperature: 3000, count: 5, min_atoms: 16}

config = read_label_config("label.yaml", distortions=["strained strain=0.1 count=2"])
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from ase.data import atomic_numbers

from gnnpot.config import from_mapping, parse_yaml, read_yaml
from gnnpot.domains import INTEGER_FROM_0, INTEGER_FROM_1, NOT_NEGATIVE, POSITIVE, check_fields
from gnnpot.errors import ConfigError
from gnnpot.sampling.distortions import AnyDistortion, Original, Rattled, Scaled, Strained


@dataclass(frozen=True)
class Limits:
    """Limits of frames; others are excluded and counted by reason. Raises `ValueError` for invalid limits."""

    min_distance: Annotated[float, POSITIVE] = 0.6  #: least distance of atoms, Å; checked before the calculation
    max_force: Annotated[float, POSITIVE] = 100.0  #: largest force on an atom, eV/Å
    max_stress: Annotated[float, POSITIVE] = 3.0  #: largest stress component, eV/Å³; 1 eV/Å³ is 160 GPa
    max_atoms: Annotated[int, INTEGER_FROM_1] = 1000  #: largest number of atoms of a frame
    #: isolated pairs of atoms that attract each other below this distance, in sums of their covalent radii, are
    #: excluded: the labeller has an unphysical minimum there
    wall: Annotated[float, NOT_NEGATIVE] = 0.0
    without: tuple[str, ...] = ()  #: frames with these elements are excluded

    def __post_init__(self) -> None:
        check_fields(self)
        for symbol in self.without:
            if symbol not in atomic_numbers:
                raise ValueError(f"without: '{symbol}' is no chemical element")


@dataclass(frozen=True)
class LabelConfig:
    """Options of `label`."""

    #: distortions that are applied to each structure
    distortions: tuple[AnyDistortion, ...] = (
        Original(), Rattled(rattle=0.05), Rattled(rattle=0.2), Strained(strain=0.05), Scaled(volume=(0.8, 1.25))
    )  # fmt: skip
    #: seed of the random numbers of all distortions
    seed: Annotated[int, INTEGER_FROM_0] = 0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.distortions:
            raise ValueError("distortions: there are none; name at least {kind: original}")
        words = [d.words for d in self.distortions]
        twice = sorted({w for w in words if words.count(w) > 1})
        if twice:
            raise ValueError(f"distortions: '{twice[0]}' is there twice; raise its count instead")

    @property
    def runs(self) -> int:
        """Number of calls of distortions for each structure."""
        return sum(d.runs for d in self.distortions)


@dataclass(frozen=True)
class StartConfig:
    """Options of the initial frames of a distillation: the given structures, undistorted and distorted."""

    #: largest number of structures, evenly spread over the given ones
    structures: Annotated[int, INTEGER_FROM_1] = 300
    #: distortions that are applied to each of them
    distortions: tuple[AnyDistortion, ...] = (Original(), Rattled(rattle=0.05), Strained(strain=0.04, rattle=0.05))

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.distortions:
            raise ValueError("distortions: there are none; name at least {kind: original}")


@dataclass(frozen=True)
class _One:
    distortion: AnyDistortion


def read_label_config(
    path: Path | str | None = None, distortions: Sequence[str] = (), seed: int | None = None
) -> LabelConfig:
    """Read a configuration from a YAML file, if given; `distortions` and `seed`, if given, replace those of the file.

    A distortion is given by its kind and options, such as "rattled rattle=0.1 count=4"; values are parsed as YAML.
    Raises `ConfigError` for invalid options.
    """
    where = "label" if path is None else str(path)
    config = from_mapping(LabelConfig, {} if path is None else read_yaml(path), where=where)
    changes: dict[str, Any] = {} if seed is None else {"seed": seed}
    if distortions:
        changes["distortions"] = tuple(parse_distortion(text) for text in distortions)
    try:
        return replace(config, **changes)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def parse_distortion(text: str) -> AnyDistortion:
    """Parse a distortion, such as "scaled volume=[0.6,1.5] count=2". Raises `ConfigError` if it is invalid."""
    if not text.split():
        raise ConfigError("distort: an empty text is no distortion; give a kind, as original")
    kind, *options = text.split()
    mapping: dict[str, object] = {"kind": kind}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise ConfigError(f"{text}: '{option}' is not of the form name=value")
        mapping[name] = parse_yaml(value, text)
    return from_mapping(_One, {"distortion": mapping}, where=text).distortion
