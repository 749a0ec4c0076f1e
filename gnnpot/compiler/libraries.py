"""Faster compilation of kernels: functions that a kernel calls are optimised only as parts of the kernel.

Numba optimises each compiled function by itself and generates machine code for it, and then does so again within each
function that calls it. For a kernel of nested functions, most of the compilation time is spent on code that is never
executed. Here, while a kernel is compiled, the functions that it calls are only translated to LLVM's intermediate
representation. They are linked into the kernel and optimised as parts of it. If such a function is called from Python
later, it is made executable then.

    with lazy_linking(target, kernel):
        ...                                  # compile
        if not is_nested():
            result = executable(result)      # optimised, with an entry point for Python

This relies on internals of Numba. With a version of Numba that it has not been tested with (`TESTED`), kernels are
compiled as Numba does, which takes longer and gives the same numbers.
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

#: versions of Numba (major, minor) that this module has been tested with
TESTED = [(0, minor) for minor in range(60, 69)]
IS_TESTED = tuple(numba.version_info.short) in TESTED

_dynfunc: Any = importlib.import_module("numba._dynfunc") if IS_TESTED else None


class LazyLibrary(JITCodeLibrary):
    """The code of a function, which is linked and optimised only when its address is requested."""

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self.is_executable = False
        self._wrappers: list[Callable[[], None]] = []
        self._part: Any = None

    def add_wrapper(self, add: Callable[[], None]) -> None:
        """Register a function that adds the code needed only for calls from Python."""
        self._wrappers.append(add)

    def finalize(self) -> None:
        """Finish the library. Numba calls this when all code has been added."""
        self._raise_if_finalized()
        # functions to run when the library is loaded from the cache; Numba before 0.62 keeps them elsewhere
        if hasattr(self, "_reload_init"):
            for library in self._parts():
                self._reload_init.update(library._reload_init)
        self._finalized = True

    def make_executable(self) -> None:
        """Link all libraries that it calls, optimise the result and generate machine code."""
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
        # set here, because Numba calls this method for libraries loaded from the cache, too
        self.is_executable = True
        super()._finalize_final_module()

    def get_pointer_to_function(self, name: str) -> int:
        """Return the address of a function; the library is made executable first."""
        self.make_executable()
        return super().get_pointer_to_function(name)

    def _parts(self) -> list[Any]:
        """All libraries that it calls, directly or indirectly, each after the libraries that call it: LLVM's linker
        leaves out code that nothing has called so far."""
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
        """Its own code only. A module that it is linked into keeps the functions that it uses."""
        self._ensure_finalized()
        if self._part is None:
            self._part = self._shared(self._final_module)
        return self._part

    def _get_module_for_linking(self) -> Any:
        """Its code and all code that it calls, for Numba's own libraries, which link only what they call directly."""
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
    """Numba's target context, but wrappers and entry points of functions are created only for calls from Python."""

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


#: packages whose functions, except kernels, are called only by other compiled functions
_INTERNAL = ("gnnpot", "numba")
#: prefix of the names that Numba gives to the bodies of parallel loops
_LOOP = "__numba_parfor_gufunc"
#: entry point of functions that are never called from Python; it raises `TypeError`
_NEVER = ctypes.cast(ctypes.pythonapi.PyErr_BadArgument, ctypes.c_void_p).value


class _Scope:
    """The kernels that are being compiled, the outermost first. Protected by Numba's compiler lock."""

    def __init__(self) -> None:
        self.kernels: list[tuple[str, str]] = []


_SCOPE = _Scope()


@contextlib.contextmanager
def lazy_linking(target: Any, kernel: Callable[..., Any]) -> Iterator[None]:
    """Context manager for the compilation of a kernel with lazy libraries.

    Args:
        target: Target context of the dispatcher.
        kernel: The Python function.
    """
    if not IS_TESTED:
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
    """Context manager without garbage collection.

    A compilation creates so many objects that the collector would scan the whole process hundreds of times, which takes
    a third of the compilation time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def is_nested() -> bool:
    """Whether the kernel is being compiled as a part of another kernel, which calls it."""
    return len(_SCOPE.kernels) > 1


def executable(result: Any) -> Any:
    """Return a compile result with executable code and an entry point for Python."""
    result.library.make_executable()
    target = result.target_context
    entry = CPUContext.get_executable(target, result.library, result.fndesc, result.environment)
    target.insert_user_function(entry, result.fndesc, [result.library])
    return result._replace(entry_point=entry)
