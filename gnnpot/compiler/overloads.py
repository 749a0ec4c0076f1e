"""Overloads of kernels as plain values that can be written to a file or a pipe.

An overload is a kernel together with the types of its arguments.

    overload = Overload("gnnpot.graphs.skin._farthest", ("float64 2C", "float64 2C"), seconds=0.2)
    overload.is_kept()          # whether it is in the cache
    overload.compile()          # compile it, or load it from the cache
    used_overloads()            # overloads that this process has called so far

| type of an argument                      | plain value                                                 |
|------------------------------------------|-------------------------------------------------------------|
| a number or Boolean                      | `int64`                                                     |
| an array                                 | `float32 2C`: dimensions and layout; `… readonly`           |
| `None`                                   | `null`                                                      |
| a tuple                                  | a list                                                      |
| a named tuple                            | `{"gnnpot.models.fast.equivariant_layer.LayerPlan": [...]}` |
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numba
from numba.core.errors import NumbaError

#: `Any`, because Numba's type stubs lack attributes of its tuple types
types: Any = numba.types


@dataclass(frozen=True)
class Overload:
    """A kernel and the types of its arguments."""

    kernel: str  #: module and name of the kernel
    types: Sequence[Any]  #: type of each argument as a plain value
    seconds: float = 0.0  #: approximate processor time of the compilation

    @property
    def key(self) -> tuple[str, str]:
        """A hashable key; it is the same for the same overload."""
        return self.kernel, repr(self.types)

    def is_kept(self) -> bool:
        """Whether the overload is in the cache. An overload that this version does not know counts as kept."""
        found = self._found()
        return found is None or found[0].is_available(found[1])

    def compile(self) -> bool:
        """Compile the overload, or load it from the cache; return whether this was possible."""
        found = self._found()
        if found is None:
            return False
        dispatcher, signature = found
        try:
            dispatcher.compile(signature)
        except NumbaError:
            return False
        return True

    def _found(self) -> tuple[Any, tuple[Any, ...]] | None:
        module, _, name = self.kernel.rpartition(".")
        try:
            kernel = getattr(importlib.import_module(module), name)
            signature = tuple(_type(value) for value in self.types)
        except (ImportError, AttributeError, ValueError):
            return None
        dispatcher = getattr(kernel, "dispatcher", kernel)
        return (dispatcher, signature) if getattr(dispatcher, "is_kept", False) else None


def used_overloads() -> list[Overload]:
    """Return the overloads that this process has compiled or loaded from the cache, sorted by kernel name.

    Raises:
        ValueError: The type of an argument has no plain value.
    """
    return sorted(
        (
            Overload(f"{kernel.py_func.__module__}.{kernel.py_func.__qualname__}", [_plain(t) for t in signature])
            for kernel in _kept_kernels()
            for signature in kernel.overloads
        ),
        key=lambda overload: overload.key,
    )


def _kept_kernels() -> Iterator[Any]:
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] == "gnnpot":
            for value in list(vars(module).values()):
                dispatcher = getattr(value, "dispatcher", value)
                function = getattr(dispatcher, "py_func", None)
                # a kernel that other modules import is counted only in the module that defines it
                if getattr(dispatcher, "is_kept", False) and getattr(function, "__module__", None) == name:
                    yield dispatcher


def _plain(kind: Any) -> Any:
    if isinstance(kind, types.Array) and kind.aligned:
        return f"{kind.dtype} {kind.ndim}{kind.layout}{'' if kind.mutable else ' readonly'}"
    if isinstance(kind, types.Number | types.Boolean) and _scalar(str(kind)) == kind:
        return str(kind)
    if isinstance(kind, types.BaseNamedTuple):
        owner = kind.instance_class
        return {f"{owner.__module__}.{owner.__qualname__}": [_plain(part) for part in kind]}
    if isinstance(kind, types.BaseTuple):
        return [_plain(part) for part in kind]
    if kind == types.none:
        return None
    raise ValueError(f"{kind} has no plain value")


def _type(value: Any) -> Any:
    if value is None:
        return types.none
    if isinstance(value, list):
        return types.BaseTuple.from_types([_type(part) for part in value])
    if isinstance(value, dict):
        ((owner, parts),) = value.items()
        module, _, name = owner.rpartition(".")
        return types.BaseTuple.from_types(
            [_type(part) for part in parts], getattr(importlib.import_module(module), name)
        )
    scalar, _, rest = str(value).partition(" ")
    if not rest:
        return _scalar(scalar)
    shape, _, access = rest.partition(" ")
    return types.Array(_scalar(scalar), int(shape[:-1]), shape[-1], readonly=access == "readonly")


def _scalar(name: str) -> Any:
    found = getattr(types, "boolean" if name == "bool" else name, None)
    if not isinstance(found, types.Number | types.Boolean):
        raise ValueError(f"{name} is no type of numbers")
    return found
