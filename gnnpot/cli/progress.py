"""Progress on the terminal: one bar for the current task, with the time left.

Example::

    with Bars(quiet) as bars:
        train(config, progress=bars)
"""

from typing import TYPE_CHECKING, Self

from gnnpot.cli.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bars:
    """Progress bars of the steps reported through `gnnpot.runs.progress.Progress`, one bar at a time.

    Args:
        quiet: Draw nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._what = ""

    def __call__(self, what: str, done: float, total: float, note: str = "") -> None:
        """Draw a step, see `Progress`; the bar is removed when `done` reaches `total`."""
        if self._quiet:
            return
        if done >= total:
            self.pause()
            return
        if self._bar is None or self._task is None or what != self._what:
            self.pause()
            self._bar, self._what = self._new(counts=isinstance(total, int)), what
            self._task = self._bar.add_task(what, total=total, note=note)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total, note=note)

    def pause(self) -> None:
        """Remove the bar, so that other output can be printed; the next step draws it again."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _new(self, counts: bool) -> "Progress":
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column

        # fits into 80 columns; in narrower terminals the note is truncated, not the time left
        fixed = Column(no_wrap=True)
        return Progress(
            TextColumn("{task.description}"), BarColumn(8), MofNCompleteColumn() if counts else TaskProgressColumn(),
            TimeElapsedColumn(fixed), TextColumn("left"), TimeRemainingColumn(table_column=fixed),
            TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=self._console,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()
