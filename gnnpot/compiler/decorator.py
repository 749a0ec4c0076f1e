"""`njit` with a cache of its own; see `folder`, `sources` and `processes` for what it keeps where, and why."""

import functools
import hashlib
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba.extending
from numba import prange
from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, NullCache, _CacheLocator
from numba.core.dispatcher import Dispatcher
from numba.core.registry import CPUDispatcher
from numba.core.sigutils import normalize_signature

from gnnpot.compiler.events import COMPILATIONS
from gnnpot.compiler.folder import kernel_folder, remove_older
from gnnpot.compiler.libraries import executable, lazy_libraries, within_another
from gnnpot.compiler.processes import one_at_a_time
from gnnpot.compiler.sources import remember, source_digest
from gnnpot.compiler.together import compile_expected

__all__ = ["intrinsic", "njit", "prange"]

log = logging.getLogger(__name__)

#: settings of Numba, which it reads from the environment
numba_config: Any = config
#: `numba.extending.intrinsic`; what it makes is called without its first argument, which Numba's types don't say
intrinsic: Any = numba.extending.intrinsic


def njit(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """`numba.njit`, with kernels that are kept (`cache=True`) by the sources that are compiled into them.

    Args:
        function: to be compiled at its first call; without it, a decorator is returned.
        options: those of `numba.njit`.

    Returns:
        Numba's dispatcher; of a parallel kernel, which is called from Python only, a function that calls it.
    """
    if function is None:
        return functools.partial(njit, **options)
    kept = options.pop("cache", False)
    if numba_config.DISABLE_JIT:
        return function
    dispatcher: Any = KernelDispatcher(function, targetoptions={"nopython": True, "boundscheck": None, **options})
    if kept:
        remember(function.__module__)
        dispatcher._cache, dispatcher.is_kept = _KernelCache(function), True
    return ParallelKernel(dispatcher) if options.get("parallel") else dispatcher


class KernelDispatcher(CPUDispatcher):
    """Numba's dispatcher, whose overloads are made executable once they are called from Python (`libraries`)."""

    #: of overloads in files; Numba's own where there is none
    _cache: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        #: whether overloads are kept in files
        self.is_kept = False
        #: signatures of overloads that are not executable yet
        self._lazy: set[tuple[Any, ...]] = set()

    def compile(self, sig: Any) -> Any:
        """Compile the kernel for a signature; within a kernel that calls it, as a part of that."""
        if self.is_kept and not self.is_available(sig):
            compile_expected()
        with lazy_libraries(self.targetctx, self.py_func):
            super().compile(sig)
            signature = tuple(normalize_signature(sig)[0])
            if signature in self._lazy and not within_another():
                self._lazy.remove(signature)
                super().add_overload(executable(self.overloads[signature]))
            found: Any = self.overloads[signature]
            return found.entry_point

    def is_available(self, sig: Any) -> bool:
        """Whether it is compiled for a signature, in this process or in the cache."""
        arguments = normalize_signature(sig)[0]
        return tuple(arguments) in self.overloads or self._cache.is_kept(sig, self.targetctx)

    def add_overload(self, cres: Any) -> None:
        """Called when it has been compiled, or loaded."""
        signature = tuple(cres.signature.args)
        # libraries of Numba's own are executable
        if getattr(cres.library, "is_executable", True):
            super().add_overload(cres)
        elif within_another() and not self.is_kept:
            self._lazy.add(signature)
            self.overloads[signature] = cres
        else:
            super().add_overload(executable(cres))


class ParallelKernel:
    """A kernel that uses several threads, as a function for Python."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        functools.update_wrapper(self, dispatcher.py_func)

    def __call__(self, *arguments: Any) -> Any:
        with one_at_a_time():
            return self.dispatcher(*arguments)


class _Locator(_CacheLocator):
    """Tells Numba where the kernels of a module are kept."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        module = function.__module__
        self._line = function.__code__.co_firstlineno
        self._digest = source_digest(module)
        self._folder = folder / f"{module.removeprefix('gnnpot.')}-{self._digest[:16]}"

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Locator | None":
        folder = kernel_folder()
        return None if folder is None else cls(py_func, folder)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._digest

    def get_disambiguator(self) -> str:
        return str(self._line)

    def ensure_cache_path(self) -> None:
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True, exist_ok=True)
            remove_older(self._folder)


class _Result(CompileResultCacheImpl):
    _locator_classes = [_Locator]


class _Files(FunctionCache):
    """The cache of Numba, with an index for each signature: of two processes that keep overloads of one kernel at once,
    the later would replace the other's index, and maybe the code that it names."""

    _impl_class = _Result

    def is_kept(self, sig: Any, context: Any) -> bool:
        """Whether there is a file for it."""
        return Path(self._file(self._index_key(sig, context.codegen()))._index_path).is_file()

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        self._cache_file = self._file(self._index_key(sig, target_context.codegen()))
        return super()._load_overload(sig, target_context)

    def _save_overload(self, sig: Any, data: Any) -> None:
        self._cache_file = self._file(self._index_key(sig, data.codegen))
        super()._save_overload(sig, data)

    def _file(self, key: Any) -> IndexDataCacheFile:
        name = f"{self._impl.filename_base}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}"
        return IndexDataCacheFile(self._cache_path, name, self._impl.locator.get_source_stamp())


class _KernelCache:
    """The cache of one kernel, in Numba's form; it is opened at the first call, when all modules are there."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._name = f"{function.__module__}.{function.__qualname__}"

    @functools.cached_property
    def _files(self) -> FunctionCache | NullCache:
        return NullCache() if kernel_folder() is None else _Files(self._function)

    @property
    def cache_path(self) -> str | None:
        return self._files.cache_path

    def is_kept(self, sig: Any, target_context: Any) -> bool:
        files = self._files
        return isinstance(files, _Files) and files.is_kept(sig, target_context)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = self._files.load_overload(sig, target_context)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            log.info("%s: the compiled kernel can't be read (%s)", self._name, error)
            found = None
        if found is None:
            COMPILATIONS.begin(self._name)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            self._files.save_overload(sig, data)
        except OSError as error:
            # a disk that is full costs time only
            log.info("%s: the compiled kernel can't be kept (%s)", self._name, error.strerror or error)
        COMPILATIONS.end(self._name)

    def enable(self) -> None:
        self._files.enable()

    def disable(self) -> None:
        self._files.disable()

    def flush(self) -> None:
        self._files.flush()
