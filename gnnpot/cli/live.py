"""Progress lines of relaxation and molecular dynamics."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from gnnpot.cli.console import Console

if TYPE_CHECKING:
    from gnnpot.engines.md_config import MDSample
    from gnnpot.engines.relax import RelaxStep


@contextmanager
def md_line(total: int, atoms: int, timestep: float, show: bool) -> Iterator["Callable[[MDSample], None] | None"]:
    """Callback that updates a line with temperature, energy, rate and time left; `None` if not `show`."""
    if not show:
        yield None
        return
    text = TextColumn("T [bold]{task.fields[temperature]}[/] K   E {task.fields[energy]} eV/atom   {task.fields[rate]}")
    columns = (TextColumn("md"), BarColumn(30), MofNCompleteColumn(), text, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("md", total=total, temperature="", energy="", rate="")
        start, first, shown = time.perf_counter(), None, 0.0

        def report(s: "MDSample") -> None:
            nonlocal first, shown
            now = time.perf_counter()
            if first is None:
                first = s.step - 1
                bar.update(task, completed=first)
            if now - shown < 0.1 and s.step < total:
                return
            shown = now
            per_step = (now - start) / (s.step - first)
            bar.update(
                task,
                completed=s.step,
                temperature=f"{s.temperature:.0f}",
                energy=f"{(s.potential + s.kinetic) / atoms:.5f}",
                rate=f"{1e6 * per_step / atoms:.0f} µs/atom-step, {86400 / per_step * timestep / 1e6:.2f} ns/day",
            )

        yield report


@contextmanager
def relax_line(total: int, atoms: int, show: bool) -> Iterator["Callable[[RelaxStep], None] | None"]:
    """Callback that updates a line with energy, largest force and largest stress; `None` if not `show`."""
    from gnnpot.units import GPA

    if not show:
        yield None
        return
    energy, force, stress = (f"{{task.fields[{name}]}}" for name in ("energy", "force", "stress"))
    text = TextColumn(f"E [bold]{energy}[/] eV/atom   F {force} eV/Å   σ {stress} GPa")
    columns = (SpinnerColumn(), TextColumn("relax"), BarColumn(30), MofNCompleteColumn(), text, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("relax", total=total, energy="", force="", stress="")

        def report(s: "RelaxStep") -> None:
            left = "–" if s.stress_max is None else f"{s.stress_max / GPA:.3f}"
            bar.update(task, completed=s.step, energy=f"{s.energy / atoms:.5f}", force=f"{s.fmax:.4f}", stress=left)

        yield report
