"""Functions shared by the commands: reading a structure, opening a calculator, showing progress.

Modules that are slow to import are imported inside functions, so that `--help` is fast.
"""

import contextlib
import importlib
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnpot.cli.console import Console
from gnnpot.errors import ConfigError, DataError, GnnpotError

if TYPE_CHECKING:
    import torch
    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator
    from rich.progress import Progress, TaskID

    from gnnpot.hub.download import Report
    from gnnpot.hub.opening import OpenedPotential


#: printed if an earlier call has finished the run
ALREADY_FINISHED = "This run has ended before and is shown as it was; --fresh begins it again."


class Precision(StrEnum):
    """Choices of `--dtype`."""

    float32 = "float32"
    float64 = "float64"


def read_structure(path: Path, index: int = -1) -> "Atoms":
    """Read one structure of a file in any format that ASE reads."""
    from gnnpot.data import structure_files

    return structure_files.read_structure(path, index)


@dataclass(frozen=True, slots=True)
class MakeCalculator:
    """Function that opens the chosen model, also in other processes.

    Args:
        model: Name or path of a gnnpot model, or an ASE calculator as `module:Class`.
        device: Device of a gnnpot model; default: its own.
        dtype: Precision of a gnnpot model; default: its own.

    Raises:
        ConfigError: A device or precision is given for a calculator of another package. This is checked when the
            choice is made, before any work.
    """

    model: str
    device: str | None = None
    dtype: Precision | None = None

    def __post_init__(self) -> None:
        options = (("--device", self.device), ("--dtype", self.dtype))
        given = [option for option, value in options if value is not None]
        if given and is_foreign(self.model):
            raise ConfigError(
                f"{', '.join(given)}: has no effect on {self.model}, a calculator of another package with settings of "
                "its own; leave it out"
            )

    def __call__(self) -> "BaseCalculator":
        """Open the model. Raises `GnnpotError` if it can't be opened."""
        if is_foreign(self.model):
            module, _, name = self.model.partition(":")
            return _foreign_calculator(module, name)
        import torch

        from gnnpot.engines.calculator import Calculator

        chosen = chosen_device(self.device)
        opened = open_model(self.model)
        return Calculator(opened, device=chosen, dtype=None if self.dtype is None else getattr(torch, self.dtype.value))


def open_calculator(model: str, device: str | None = None, dtype: Precision | None = None) -> "BaseCalculator":
    """Return a calculator of the chosen model, see `MakeCalculator`."""
    return MakeCalculator(model, device, dtype)()


def is_foreign(model: str) -> bool:
    """Whether a model is an ASE calculator of another package, given as `module:Class`."""
    module, _, name = model.partition(":")
    return name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def open_model(model: str) -> "OpenedPotential":
    """Open a gnnpot model (name or path); a published potential is downloaded first, with a progress bar."""
    from gnnpot.hub.opening import open_potential

    with download_progress() as report:
        return open_potential(model, report)


def default_output(source: Path, ending: str) -> Path:
    """Default path of an output: the source's name with another ending, in the source's folder.

    Raises `DataError` if the source has no file name, as for `.` and the empty string.
    """
    if source.name in ("", ".."):
        raise DataError(f"'{source}': is no ordinary file; give the path of a file")
    return source.with_name(f"{source.stem}{ending}")


def modification_time(model: Path) -> int | None:
    """Modification time (ns) of a checkpoint; `None` if it does not exist."""
    with contextlib.suppress(OSError):
        return (model / "card.json").stat().st_mtime_ns
    return None


def count_bar(quiet: bool, speed_estimate_period: float = 30.0) -> "Progress":
    """Progress bar with the count done, the total, and the time left from the rate of the last seconds.

    Args:
        quiet: Draw nothing.
        speed_estimate_period: Time over which the rate is averaged, s.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(
        *columns, TextColumn("left"), TimeRemainingColumn(),
        console=Console(stderr=True), disable=quiet, speed_estimate_period=speed_estimate_period,
    )  # fmt: skip


@contextlib.contextmanager
def compilation_progress() -> Iterator[None]:
    """Show the kernel that is being compiled: a status line on a terminal, otherwise one message before the first."""
    from gnnpot.compiler.events import compilation_events

    console, started = Console(stderr=True), []

    def show(name: str, running: bool) -> None:
        if running:
            started.append(time.monotonic())
        seconds = time.monotonic() - started[0]
        text = f"compiling kernels for this processor, once: {len(started)} in {seconds:.0f} s, {name}"
        if not console.is_terminal:
            if running and len(started) == 1:
                console.print("compiling kernels for this processor, once; it takes minutes", highlight=False)
        else:
            shown = text[: console.width - 1] if running else ""
            console.print(shown.ljust(console.width - 1), end="\r", highlight=False)

    with compilation_events(show):
        yield


@contextlib.contextmanager
def download_progress() -> "Iterator[Report]":
    """Show a progress bar with the time left for each file that is downloaded."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TextColumn("left"), TimeRemainingColumn()
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    tasks: dict[str, TaskID] = {}
    with contextlib.ExitStack() as stack:

        def report(what: str, done: int, total: int) -> None:
            if not tasks:
                stack.enter_context(progress)
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        yield report


def _foreign_calculator(module: str, name: str) -> "BaseCalculator":
    from ase.calculators.calculator import BaseCalculator

    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise ConfigError(f"{module}:{name}: can't be imported ({error}); give module:Class") from None
    if not callable(found) or (isinstance(found, type) and not issubclass(found, BaseCalculator)):
        raise ConfigError(f"{module}:{name}: is no ASE calculator; give one as module:Class")
    if missing := _required(found):
        raise ConfigError(f"{module}:{name}: can't be made without arguments ({missing}); give module:Class")
    try:
        calculator = found()
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        raise ConfigError(f"{module}:{name}: can't be made without arguments ({error}); give module:Class") from None
    if not isinstance(calculator, BaseCalculator):
        raise ConfigError(f"{module}:{name}: is no ASE calculator; give one as module:Class")
    _raise_data_errors(calculator, f"{module}:{name}")
    return calculator


def _required(found: Callable[..., object]) -> str:
    """Names of the required arguments of a class or function, separated by commas."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except ValueError:
        # some callables written in C have no signature
        return ""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return ", ".join(p.name for p in parameters if p.default is p.empty and p.kind not in variadic)


def _raise_data_errors(calculator: "BaseCalculator", name: str) -> None:
    """Make a calculator of another package raise `DataError`, whose message says what could not be computed."""
    from ase.calculators.calculator import PropertyNotImplementedError

    kind: Any = type(calculator)
    if not hasattr(kind, "calculate"):
        return

    def calculate(self: Any, atoms: "Atoms | None" = None, *args: object, **options: object) -> None:
        try:
            kind.calculate(self, atoms, *args, **options)
        except (GnnpotError, PropertyNotImplementedError):
            raise
        except Exception as error:  # noqa: BLE001 - other packages raise anything for what they can't compute
            formula = "the structure" if atoms is None else atoms.get_chemical_formula()
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{name}: can't compute {formula} ({reason}); give a structure that it knows, or another calculator"
            ) from None

    # the class is replaced, not the method of the instance: copies of the calculator write to their own results
    calculator.__class__ = type(kind.__name__, (kind,), {"calculate": calculate, "__module__": kind.__module__})


def chosen_device(device: str | None) -> "torch.device | None":
    """Return the device given by `--device`; raises `ConfigError` if it can't be used on this machine."""
    from gnnpot.torch_modes import as_device

    try:
        return as_device(device)
    except ConfigError as error:
        raise ConfigError(f"--{error}") from None


def changed_options(command: Callable[..., Any], given: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the options (as `--frame-time`) of a command among `names` whose values are not their defaults."""
    defaults = inspect.signature(command).parameters
    return [f"--{name.replace('_', '-')}" for name in names if given[name] != defaults[name].default]
