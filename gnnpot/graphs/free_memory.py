"""Memory that this process can still allocate, limited by the machine, batch systems and containers.

| limit                     | set by                       | memory left                                              |
|---------------------------|------------------------------|----------------------------------------------------------|
| physical memory           |                              | available memory according to the operating system       |
| `RLIMIT_AS`               | `ulimit -v`, batch systems   | limit - address space of the process (`VmSize`)          |
| `RLIMIT_DATA`             | `ulimit -d`                  | limit - data segment of the process (`VmData`)           |
| control groups, version 2 | containers, Slurm, systemd   | `memory.max` - `memory.current` + `inactive_file`        |
| control groups, version 1 | the same, on older systems   | limit - usage (`*_in_bytes`) + `total_inactive_file`     |

`inactive_file` is file cache, which the kernel can drop. The limits of all parent groups apply as well. Limits that
cannot be read are ignored.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """Memory that can still be allocated under the strictest limit."""

    bytes: int
    limit: str  #: name of the strictest limit; empty for the physical memory


def free_memory(proc: Path = Path("/proc/self")) -> FreeMemory:
    """Return the memory that this process can still allocate.

    Args:
        proc: Folder of the process in the proc file system of Linux.
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
    """Value of a field of `/proc/self/status` in bytes, `None` if it is absent."""
    rest = (_text(proc / "status") or "").partition(f"\n{field}")[2].split()
    return 1024 * int(rest[0]) if rest else None


def _group_limits(proc: Path) -> Iterator[FreeMemory]:
    """Limits of the control group of the process and of all its mounted parents."""
    mounts = {kind: (Path(root), Path(point)) for kind, root, point in _mounts(proc)}
    for line in (_text(proc / "cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        kind = "v2" if number == "0" and not controllers else "v1" if "memory" in controllers.split(",") else None
        if kind is None or kind not in mounts:
            continue
        root, point = mounts[kind]
        # within a container, the mount starts at the container's own group
        inner = Path(group).relative_to(root) if Path(group).is_relative_to(root) else Path(group.lstrip("/"))
        for folder in (point / inner, *(point / inner).parents):
            if not folder.is_relative_to(point):
                break
            left = _left_of(folder, kind)
            if left is not None:
                yield FreeMemory(left, f"the control group {folder}")


def _mounts(proc: Path) -> Iterator[tuple[str, str, str]]:
    """(kind, root, mount point) of the control group hierarchies with a memory controller."""
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
    """Bytes left in a control group; `None` if it has no limit or its files cannot be read."""
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
