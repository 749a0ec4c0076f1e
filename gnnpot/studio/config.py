"""Options and limits of the server."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import psutil

#: addresses that can be reached only from this machine
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _half_of_memory() -> float:
    return psutil.virtual_memory().total / 2**31


@dataclass(frozen=True, slots=True)
class StudioConfig:
    """Options of `serve`."""

    host: str = "127.0.0.1"  #: address on which the server listens; all but loopback can be reached from outside
    port: int = 0  #: port on which the server listens; 0: any free port
    keep: Path | None = None  #: folder in which structures and jobs are kept; `None`: they are removed at the end
    models: tuple[Path, ...] = ()  #: folders of further potentials that the page offers
    max_jobs: int = field(default_factory=lambda: max(1, (os.cpu_count() or 2) // 2))  #: jobs that run at once
    max_atoms: int = 5000  #: largest number of atoms of a structure
    max_upload: int = 10_000_000  #: largest size of an uploaded file, bytes
    max_memory: float = field(default_factory=_half_of_memory)  #: memory limit of a process, GiB
    max_hours: float = 2.0  #: time limit of a job, h
    build_seconds: float = 30.0  #: time limit for building a structure or reading an uploaded file, s
    max_sessions: int = 50  #: largest number of sessions

    def __post_init__(self) -> None:
        positive = "max_jobs", "max_atoms", "max_upload", "max_memory", "max_hours", "build_seconds", "max_sessions"
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not a positive number")
        if not 0 <= self.port < 65536:
            raise ValueError(f"port: {self.port} is not a number from 0 to 65535")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in LOOPBACK
