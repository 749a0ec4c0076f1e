"""A digest of all source code that is compiled into the kernels of a module.

A kernel may call functions of other modules, which are compiled into it, and read their constants. The digest of a
module M covers the file of M, the files of all modules from which M takes compiled functions, intrinsics or types
(recursively), and the values of the constants in these modules. Files are read when a module is imported: a running
process compiles the code that it has loaded, even if the files have changed since.
"""

import functools
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from numba.core.dispatcher import Dispatcher
from numba.extending import _Intrinsic

_PLAIN = (bool, int, float, complex, str, bytes, np.generic, type(None))


@dataclass(frozen=True)
class _Snapshot:
    """State of a module when it was imported."""

    digest: bytes  #: SHA-256 digest of its file
    parts: tuple[str, ...]  #: modules whose functions are compiled into its kernels


@functools.cache
def snapshot(module: str) -> _Snapshot:
    """Read the file of a module and the files of the modules that are compiled into its kernels."""
    loaded = sys.modules.get(module)
    path = getattr(loaded, "__file__", None)
    content = Path(path).read_bytes() if path and Path(path).is_file() else b""
    parts = tuple(sorted(set(_parts(loaded)) - {module})) if loaded else ()
    for part in parts:
        snapshot(part)
    return _Snapshot(hashlib.sha256(content).digest(), parts)


def source_digest(module: str) -> str:
    """Return the digest (hexadecimal) of an imported module, given its name."""
    names, pending = set(), [module]
    while pending:
        name = pending.pop()
        if name not in names:
            names.add(name)
            pending += snapshot(name).parts
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(name.encode() + snapshot(name).digest)
        for key, value in sorted(vars(sys.modules[name]).items()):
            if not key.startswith("__"):
                digest.update(f"{key}={_constant(value)}\n".encode())
    return digest.hexdigest()


def _parts(module: ModuleType) -> Iterator[str]:
    for value in vars(module).values():
        owner: str | None
        if isinstance(value, ModuleType):
            owner = value.__name__
        elif isinstance(value, _Intrinsic):
            owner = value._defn.__module__
        else:
            owner = getattr(value, "__module__", None)
        if not isinstance(owner, str) or owner not in sys.modules or owner.startswith("gnnpot.compiler"):
            continue
        if _is_compiled(value) or (
            owner.startswith("gnnpot.")
            and isinstance(value, FunctionType | type | ModuleType)
            and any(map(_is_compiled, vars(sys.modules[owner]).values()))
        ):
            yield owner


def _is_compiled(value: Any) -> bool:
    return isinstance(value, Dispatcher | _Intrinsic) or isinstance(getattr(value, "dispatcher", None), Dispatcher)


def _constant(value: Any) -> str:
    """A constant as text; empty for values that kernels do not read."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_constant, value))})"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_constant, value)))}}}"
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(f'{_constant(k)}: {_constant(v)}' for k, v in value.items()))}}}"
    return ""
