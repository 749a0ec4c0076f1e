"""Overloads of kernels, a kernel with the types of its arguments, as plain values that a file or a pipe can hold.

    overload = Overload("gnnpot.graphs.skin._farthest", ("float64 2C", "float64 2C"), seconds=0.2)
    overload.is_kept()          # whether the cache has it
    overload.compile()          # or load it
    used_overloads()            # what this process has called so far

| type of an argument                      | plain value                                                 |
|------------------------------------------|-------------------------------------------------------------|
| a number or truth value                  | `int64`                                                     |
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

#: Numba's stubs lack what tuples have
types: Any = numba.types


@dataclass(frozen=True)
class Overload:
    """A kernel and the types of its arguments."""

    kernel: str  #: module and name
    types: Sequence[Any]  #: plain values, of each argument
    seconds: float = 0.0  #: of processor time, which compiling it takes about

    @property
    def key(self) -> tuple[str, str]:
        """The same for the same overload."""
        return self.kernel, repr(self.types)

    def is_kept(self) -> bool:
        """Whether the cache has it. An overload that this version does not know counts as kept."""
        found = self._found()
        return found is None or found[0].is_available(found[1])

    def compile(self) -> bool:
        """Compile it, or load it from the cache; false if that can't be done."""
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
    """Overloads of kernels that this process has compiled or loaded from the cache, in the order of their names.

    Raises:
        ValueError: for a type of argument that has no plain value.
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
                # kernels that other modules import are counted where they are defined
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
