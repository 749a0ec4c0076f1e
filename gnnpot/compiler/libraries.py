"""Kernels whose parts are optimised once: code of functions that a kernel calls is made executable only on demand.

Numba optimises each compiled function by itself and makes machine code of it, and then does so again within each
function that it is compiled into: of a kernel that consists of functions which call functions, most of the time goes
into code that is never executed. Here, while a kernel is compiled, the functions that it calls are translated to LLVM's
representation only. They are linked into the kernel and optimised as parts of it. One that is called from Python
afterwards is made executable then.

    with lazy_libraries(target, kernel):
        ...                                  # compile
        if not within_another():
            result = executable(result)      # optimised, with an entry point for Python

This relies on how Numba works inside. With a version that it has not been tried with (`TRIED`), kernels are compiled as
Numba does it, which takes longer and gives the same numbers.
"""

import contextlib
import ctypes
import gc
import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext

#: versions of Numba, major and minor
TRIED = [(0, minor) for minor in range(60, 69)]
IS_TRIED = tuple(numba.version_info.short) in TRIED

_dynfunc: Any = importlib.import_module("numba._dynfunc") if IS_TRIED else None


class LazyLibrary(JITCodeLibrary):
    """The code of a function, which is neither linked nor optimised before its address is asked for."""

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self.is_executable = False
        self._wrappers: list[Callable[[], None]] = []
        self._part: Any = None

    def add_wrapper(self, add: Callable[[], None]) -> None:
        """`add` adds what only calls from Python need."""
        self._wrappers.append(add)

    def finalize(self) -> None:
        """Called when all code has been added."""
        self._raise_if_finalized()
        # what is to be done when it is loaded from the cache; before version 0.62, Numba keeps that elsewhere
        if hasattr(self, "_reload_init"):
            for library in self._parts():
                self._reload_init.update(library._reload_init)
        self._finalized = True

    def make_executable(self) -> None:
        """Link all that it calls, optimise it, make machine code."""
        if self.is_executable:
            return
        with global_compiler_lock:
            self._finalized = False
            while self._wrappers:
                self._wrappers.pop()()
            self._link(self._final_module)
            self._optimize_final_module()
            self._final_module.verify()
            self._finalize_final_module()

    def _finalize_final_module(self) -> None:
        # of one from the cache, too
        self.is_executable = True
        super()._finalize_final_module()

    def get_pointer_to_function(self, name: str) -> int:
        """The address of a function, which is compiled now."""
        self.make_executable()
        return super().get_pointer_to_function(name)

    def _parts(self) -> list[Any]:
        """All libraries that it calls, directly or not, each behind those that call it: LLVM's linker leaves out what
        nothing has called so far."""
        order: dict[Any, None] = {}
        self._visit(order)
        del order[self]
        return list(reversed(order))

    def _visit(self, order: dict[Any, None]) -> None:
        for library in self._linking_libraries:
            if library not in order:
                if _is_part(library):
                    library._visit(order)
                else:
                    order[library] = None
        order[self] = None

    def _link(self, module: Any) -> None:
        for library in self._parts():
            module.link_in(
                library._as_part() if _is_part(library) else library._get_module_for_linking(), preserve=True
            )

    def _as_part(self) -> Any:
        """Its own code alone, of which a module that it is linked into keeps what it uses."""
        self._ensure_finalized()
        if self._part is None:
            self._part = self._shared(self._final_module)
        return self._part

    def _get_module_for_linking(self) -> Any:
        """Its code with all that it calls: for libraries of Numba's kind, which link only what they call directly."""
        self._ensure_finalized()
        if self._shared_module is None and not self.is_executable:
            module = self._shared(self._final_module)
            self._link(module)
            self._shared_module = module
        return super()._get_module_for_linking()

    @staticmethod
    def _shared(module: Any) -> Any:
        module = module.clone()
        for function in module.functions:
            if not function.is_declaration and function.linkage.name == "external":
                function.linkage = "linkonce_odr"
        return module


def _is_part(library: Any) -> bool:
    return isinstance(library, LazyLibrary) and not library.is_executable


class _LazyContext(CPUContext):
    """Numba's target, but wrappers and entry points of a function are made once it is called from Python."""

    def create_cpython_wrapper(self, library: Any, *arguments: Any, **options: Any) -> None:
        self._later(super().create_cpython_wrapper, library, *arguments, **options)

    def create_cfunc_wrapper(self, library: Any, *arguments: Any, **options: Any) -> None:
        self._later(super().create_cfunc_wrapper, library, *arguments, **options)

    def _later(self, create: Callable[..., None], library: Any, *arguments: Any, **options: Any) -> None:
        if isinstance(library, LazyLibrary):
            library.add_wrapper(partial(create, library, *arguments, **options))
        else:
            create(library, *arguments, **options)

    def get_executable(self, library: Any, fndesc: Any, env: Any) -> Any:
        package, name = str(fndesc.modname).partition(".")[0], fndesc.qualname
        ours = package in _INTERNAL or (fndesc.modname, name) in _SCOPE.kernels or name.startswith(_LOOP)
        if not (ours and isinstance(library, LazyLibrary)) or library.is_executable:
            return super().get_executable(library, fndesc, env)
        return _dynfunc.make_function(
            fndesc.lookup_module(), fndesc.qualname, "no entry point", _NEVER, env, (library,)
        )


#: packages whose functions, but for kernels, are called within other compiled functions only
_INTERNAL = ("gnnpot", "numba")
#: how names of the bodies of parallel loops begin
_LOOP = "__numba_parfor_gufunc"
#: stands for an entry point in functions that are never called from Python: it raises `TypeError`
_NEVER = ctypes.cast(ctypes.pythonapi.PyErr_BadArgument, ctypes.c_void_p).value


class _Scope:
    """What is being compiled, under Numba's lock."""

    def __init__(self) -> None:
        self.kernels: list[tuple[str, str]] = []


_SCOPE = _Scope()


@contextlib.contextmanager
def lazy_libraries(target: Any, kernel: Callable[..., Any]) -> Iterator[None]:
    """A block in which `kernel` is compiled.

    Args:
        target: of the dispatcher.
        kernel: the Python function.
    """
    if not IS_TRIED:
        yield
        return
    with global_compiler_lock, _no_garbage_collection():
        _SCOPE.kernels.append((kernel.__module__, kernel.__qualname__))
        codegen = target.codegen()
        before = type(target), codegen._library_class
        target.__class__, codegen._library_class = _LazyContext, LazyLibrary
        try:
            yield
        finally:
            target.__class__, codegen._library_class = before
            _SCOPE.kernels.pop()


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A compilation makes so many objects that the collector would look through the whole process hundreds of times,
    a third of the time that compiling takes."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def within_another() -> bool:
    """Whether the kernel that is being compiled is called by another one."""
    return len(_SCOPE.kernels) > 1


def executable(result: Any) -> Any:
    """The same with an entry point for Python."""
    result.library.make_executable()
    target = result.target_context
    entry = CPUContext.get_executable(target, result.library, result.fndesc, result.environment)
    target.insert_user_function(entry, result.fndesc, [result.library])
    return result._replace(entry_point=entry)
