"""How much memory this process may still take: of the machine, and by the limits that batch systems and containers set.

| limit                     | set by                       | what is left of it                            |
|---------------------------|------------------------------|-----------------------------------------------|
| of the machine            |                              | what the system calls available               |
| `RLIMIT_AS`               | `ulimit -v`, batch systems   | limit - the process's addresses               |
| `RLIMIT_DATA`             | `ulimit -d`                  | limit - its data                              |
| control groups, version 2 | containers, Slurm, systemd   | `memory.max` - `memory.current` + idle pages  |
| control groups, version 1 | the same, on older systems   | the same, of `memory.limit_in_bytes`          |

A control group is limited by its parents too. What can't be read limits nothing.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """The smallest of what the limits leave."""

    bytes: int
    limit: str  #: what leaves no more; empty: the machine


def free_memory(proc: Path = Path("/proc/self")) -> FreeMemory:
    """What this process may still take.

    Args:
        proc: the folder with what Linux says about the process.
    """
    found = [FreeMemory(psutil.virtual_memory().available, ""), *_process_limits(proc), *_group_limits(proc)]
    smallest = min(found, key=lambda free: free.bytes)
    return FreeMemory(max(smallest.bytes, 0), smallest.limit)


def _process_limits(proc: Path) -> Iterator[FreeMemory]:
    if os.name != "posix":
        return
    import resource

    kinds = {"RLIMIT_AS": ("VmSize:", "ulimit -v"), "RLIMIT_DATA": ("VmData:", "ulimit -d")}
    for name, (field, words) in kinds.items():
        limit = resource.getrlimit(getattr(resource, name))[0]
        used = _status(proc, field)
        if limit != resource.RLIM_INFINITY and used is not None:
            yield FreeMemory(limit - used, words)


def _status(proc: Path, field: str) -> int | None:
    """A field of `/proc/self/status`, bytes."""
    rest = (_text(proc / "status") or "").partition(f"\n{field}")[2].split()
    return 1024 * int(rest[0]) if rest else None


def _group_limits(proc: Path) -> Iterator[FreeMemory]:
    """Of the process's control group and all above it, as far as they are mounted."""
    mounts = {kind: (Path(root), Path(point)) for kind, root, point in _mounts(proc)}
    for line in (_text(proc / "cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        kind = "v2" if number == "0" and not controllers else "v1" if "memory" in controllers.split(",") else None
        if kind is None or kind not in mounts:
            continue
        root, point = mounts[kind]
        # within a container, the mount shows the groups from its own one on
        inner = Path(group).relative_to(root) if Path(group).is_relative_to(root) else Path(group.lstrip("/"))
        for folder in (point / inner, *(point / inner).parents):
            if not folder.is_relative_to(point):
                break
            left = _left_of(folder, kind)
            if left is not None:
                yield FreeMemory(left, f"the control group {folder}")


def _mounts(proc: Path) -> Iterator[tuple[str, str, str]]:
    """(kind, root, mount point) of hierarchies that count memory."""
    for line in (_text(proc / "mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, *rest) = before.split(), after.split() or [""]
        if len(fields) < 5:
            continue
        if kind == "cgroup2":
            yield "v2", fields[3], fields[4]
        elif kind == "cgroup" and rest and "memory" in rest[-1].split(","):
            yield "v1", fields[3], fields[4]


def _left_of(folder: Path, kind: str) -> int | None:
    """What a group has left, bytes; `None`: it has no limit, or none that can be read."""
    names = {
        "v2": ("memory.max", "memory.current", "inactive_file"),
        "v1": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    }
    limit_name, used_name, droppable_name = names[kind]
    limit, used = (_text(folder / name) for name in (limit_name, used_name))
    if limit is None or used is None or not limit.strip().isdigit() or not used.strip().isdigit():
        return None
    statistics = dict(
        line.split(maxsplit=1) for line in (_text(folder / "memory.stat") or "").splitlines() if " " in line
    )
    return int(limit) - int(used) + int(statistics.get(droppable_name, 0))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
