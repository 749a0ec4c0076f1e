"""Run a try in a fork of this process, which has imported all modules; or in a new process.

The fork has its own folder, limits of time and memory, and no terminal. Its exceptions are recorded in addition to its output,
so that unexpected exceptions are found even if they were converted to a message.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from bad_input_cases.attempt import Try

#: limits of processor time and wall time, s
CPU_LIMIT, WALL_LIMIT = 60, 600
#: exceptions that mean nothing to a user: caused by a bug, or by unchecked input
UNEXPECTED = (
    "AssertionError", "AttributeError", "IndexError", "KeyError", "MemoryError", "NameError", "RecursionError",
    "TypeError", "UnboundLocalError", "ZeroDivisionError", "FloatingPointError", "LinAlgError",
    "UnicodeDecodeError", "UnicodeEncodeError", "MarkupError", "BadZipFile", "EOFError",
)  # fmt: skip


@dataclass
class Outcome:
    """Outcome of a try."""

    status: int | None  #: exit status; `None` if it was killed
    signal: int | None
    ended: bool  #: whether it ended within the time limits
    output: str
    seconds: float
    changed: list[str]  #: existing paths that were changed or deleted
    new: list[str]
    hidden: list[str] = field(default_factory=list)  #: unexpected exceptions, as "KeyError in hub/card.py:12"
    escaped: str = ""  #: the exception that ended it, if it was not converted to a message


def run(attempt: Try, folder: Path) -> Outcome:
    """Run a try in `folder`, which contains its files."""
    if attempt.setup and (code := _set_up(attempt, folder)):
        raise RuntimeError(f"{attempt.name}: can't be set up ({code})")
    before = _hashes(folder)
    notes, output = folder.parent / "notes.json", folder.parent / "output.txt"
    notes.unlink(missing_ok=True)
    start = time.monotonic()
    pid = _spawn(attempt, folder, output) if attempt.fresh else _fork(attempt, folder, output, notes)
    code, ended = _wait(pid, start)
    after = _hashes(folder)
    said = json.loads(notes.read_text()) if notes.exists() else {}
    stopped = -code if code < 0 else None
    if stopped in (signal.SIGXCPU, signal.SIGKILL):
        ended = False
    return Outcome(
        status=None if code < 0 else code,
        signal=stopped,
        ended=ended,
        output=output.read_text("utf-8", "replace"),
        seconds=time.monotonic() - start,
        changed=sorted(path for path, digest in before.items() if after.get(path) != digest),
        new=sorted(after.keys() - before.keys()),
        hidden=said.get("hidden", []),
        escaped=said.get("escaped", ""),
    )


def _set_up(attempt: Try, folder: Path) -> int:
    """Run the setup of the folder in another fork; returns 0 on success."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.chdir(folder)
            with open(os.devnull, "w") as nothing:
                os.dup2(nothing.fileno(), 1)
            exec(compile(attempt.setup, "<setup>", "exec"), {"__name__": "__setup__"})
            status = 0
        except BaseException:  # noqa: BLE001 - nothing may return from the fork
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _wait(pid: int, start: float) -> tuple[int, bool]:
    """(exit status, negative for a signal; whether it ended by itself)."""
    pause = 0.002
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), True
        if time.monotonic() - start > WALL_LIMIT:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return -signal.SIGKILL, False
        time.sleep(pause)
        pause = min(0.05, pause * 1.3)


def _limits(attempt: Try) -> None:
    os.setsid()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + int(attempt.memory * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT, CPU_LIMIT + 2))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if attempt.open_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (attempt.open_files, attempt.open_files))


def _spawn(attempt: Try, folder: Path, output: Path) -> int:
    code = ["-c", attempt.command[1]] if attempt.command[0] == "python" else ["-m", "gnnpot", *attempt.command]
    environment = {**os.environ, **attempt.environment}
    with output.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, *code], cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            env=environment, preexec_fn=lambda: _limits(attempt),  # noqa: PLW1509 - this process has one thread
        ).pid  # fmt: skip


def _fork(attempt: Try, folder: Path, output: Path, notes: Path) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        _limits(attempt)
        os.chdir(folder)
        os.environ.update(attempt.environment)
        with open(os.devnull) as nothing, output.open("wb") as out:
            os.dup2(nothing.fileno(), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        if encoding := attempt.environment.get("BAD_INPUT_ENCODING"):
            sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding=encoding)
            sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding=encoding)
        status = _execute(attempt, notes)
    except BaseException:  # noqa: BLE001 - nothing may return from the fork
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
    return 0


def _execute(attempt: Try, notes: Path) -> int:
    """Run the command as the console script would. Returns the exit status."""
    from gnnpot.errors import GnnpotError

    hidden: list[str] = []
    escaped = ""
    status = 0
    try:
        if attempt.command[0] == "python":
            _python(attempt.command[1], hidden)
        else:
            _command(attempt.command, hidden)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except GnnpotError as error:
        hidden += _unexpected(error)
        print(f"error: {error}")
        status = 1
    except BaseException as error:  # noqa: BLE001 - a traceback, as Python would print it
        escaped = type(error).__name__
        traceback.print_exc()
        status = 1
    if hidden or escaped:
        notes.write_text(json.dumps({"hidden": hidden, "escaped": escaped}))
    return status


def _command(arguments: tuple[str, ...], hidden: list[str]) -> None:
    import typer

    import gnnpot.cli
    from gnnpot.errors import GnnpotError

    call = typer.Typer.__call__

    def watched(application: typer.Typer, *args: object, **options: object) -> object:
        try:
            return call(application, *args, **options)
        except GnnpotError as error:
            hidden.extend(_unexpected(error))
            raise

    typer.Typer.__call__ = watched  # in this fork only
    sys.argv = ["gnnpot", *arguments]
    gnnpot.cli.main()


def _python(code: str, hidden: list[str]) -> None:
    try:
        exec(compile(code, "<try>", "exec"), {"__name__": "__main__"})
    except ValueError as error:
        # raised by constructors of Python for values out of range
        hidden.extend(_unexpected(error))
        print(f"error: {error}")
        raise SystemExit(1) from None


def _unexpected(error: BaseException) -> list[str]:
    """Unexpected exceptions in the chain of causes of `error`, with the place in gnnpot where they were raised."""
    found, seen = [], set()
    below = error.__cause__ or error.__context__
    while below is not None and id(below) not in seen:
        seen.add(id(below))
        frames = traceback.extract_tb(below.__traceback__)
        raised = frames[-1].filename if frames else ""
        if type(below).__name__ in UNEXPECTED and f"{os.sep}gnnpot{os.sep}" in raised and "site-packages" not in raised:
            place = raised.rpartition(f"{os.sep}gnnpot{os.sep}")[2]
            found.append(f"{type(below).__name__} in {place}:{frames[-1].lineno}")
        below = below.__cause__ or below.__context__
    return found


def _hashes(folder: Path) -> dict[str, str]:
    """Digest of each regular file below a folder, and the kind of all others."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        elif path.is_dir():
            found[name] = "folder"
        elif path.is_file():
            with contextlib.suppress(OSError):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = f"mode {path.lstat().st_mode:o}"
    return found
