"""The decorator `njit` with gnnpot's own cache of compiled kernels.

`folder` chooses the folder of the cache, `sources` calculates a digest of the compiled source code, and `processes`
makes parallel kernels safe in threads and after forks.
"""

import contextlib
import functools
import hashlib
import logging
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
from gnnpot.compiler.libraries import executable, is_nested, lazy_linking
from gnnpot.compiler.processes import one_at_a_time
from gnnpot.compiler.sources import snapshot, source_digest
from gnnpot.compiler.together import compile_expected

__all__ = ["intrinsic", "njit", "prange"]

log = logging.getLogger(__name__)

#: Numba's settings, which it reads from the environment
numba_config: Any = config
#: `numba.extending.intrinsic`; `Any`, because an intrinsic is called without its first argument, which Numba's types do
#: not describe
intrinsic: Any = numba.extending.intrinsic


def njit(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """`numba.njit` with a cache that depends on all source code compiled into a kernel.

    Args:
        function: Function that is compiled at its first call. Without it, a decorator is returned.
        options: Options of `numba.njit`. With `cache=True`, compiled kernels are kept on disk.

    Returns:
        Numba's dispatcher. For a parallel kernel, which can be called only from Python, a function that calls the
        dispatcher.
    """
    if function is None:
        return functools.partial(njit, **options)
    kept = options.pop("cache", False)
    if numba_config.DISABLE_JIT:
        return function
    dispatcher: Any = KernelDispatcher(function, targetoptions={"nopython": True, "boundscheck": None, **options})
    if kept:
        snapshot(function.__module__)
        dispatcher._cache, dispatcher.is_kept = _KernelCache(function), True
    return ParallelKernel(dispatcher) if options.get("parallel") else dispatcher


class KernelDispatcher(CPUDispatcher):
    """Numba's dispatcher, but overloads are made executable only when they are called from Python (see `libraries`)."""

    #: cache of the overloads; Numba's default if they are not kept on disk
    _cache: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        #: whether overloads are kept on disk
        self.is_kept = False
        #: signatures of overloads that are not executable yet
        self._lazy: set[tuple[Any, ...]] = set()

    def compile(self, sig: Any) -> Any:
        """Compile the kernel for a signature; while a kernel that calls it is compiled, as a part of that kernel."""
        if self.is_kept and not self.is_available(sig):
            compile_expected()
        with lazy_linking(self.targetctx, self.py_func):
            super().compile(sig)
            signature = tuple(normalize_signature(sig)[0])
            if signature in self._lazy and not is_nested():
                self._lazy.remove(signature)
                super().add_overload(executable(self.overloads[signature]))
            found: Any = self.overloads[signature]
            return found.entry_point

    def is_available(self, sig: Any) -> bool:
        """Whether the kernel is compiled for a signature, in this process or in the cache."""
        arguments = normalize_signature(sig)[0]
        return tuple(arguments) in self.overloads or self._cache.is_kept(sig, self.targetctx)

    def add_overload(self, cres: Any) -> None:
        """Add an overload. Numba calls this when an overload has been compiled or loaded from the cache."""
        signature = tuple(cres.signature.args)
        # Numba's own libraries are always executable
        if getattr(cres.library, "is_executable", True):
            super().add_overload(cres)
        elif is_nested() and not self.is_kept:
            self._lazy.add(signature)
            self.overloads[signature] = cres
        else:
            super().add_overload(executable(cres))


class ParallelKernel:
    """A parallel kernel as a Python function. Calls from several threads wait for each other if necessary."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        functools.update_wrapper(self, dispatcher.py_func)

    def __call__(self, *arguments: Any) -> Any:
        with one_at_a_time():
            return self.dispatcher(*arguments)


class _Locator(_CacheLocator):
    """Tells Numba in which folder the kernels of a module are kept."""

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
    """Numba's cache with an index file for each signature.

    With one index for all signatures of a kernel, two processes that save overloads at the same time would overwrite
    each other's index, and possibly the code that the index refers to.
    """

    _impl_class = _Result

    def is_kept(self, sig: Any, context: Any) -> bool:
        """Whether there is a file for this signature."""
        return Path(self._file(self._index_key(sig, context.codegen()))._index_path).is_file()

    def discard(self) -> None:
        """Remove the index of the signature that was loaded last."""
        with contextlib.suppress(OSError):
            Path(self._cache_file._index_path).unlink(missing_ok=True)

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
    """The cache of one kernel, with the interface of Numba's caches.

    It is opened at the first call, when all modules have been imported.
    """

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
        except Exception as error:  # noqa: BLE001 - pickle raises any kind for a damaged file
            log.info("%s: the compiled kernel can't be read (%s)", self._name, error)
            found = None
            # Numba would read a damaged index again when it saves the kernel
            if isinstance(self._files, _Files):
                self._files.discard()
        if found is None:
            COMPILATIONS.begin(self._name)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            self._files.save_overload(sig, data)
        except Exception as error:  # noqa: BLE001 - a full disk, or a damaged file that can't be removed
            # not an error: the kernel is compiled again in the next process
            log.info("%s: the compiled kernel can't be kept (%s)", self._name, error)
        COMPILATIONS.end(self._name)

    def enable(self) -> None:
        self._files.enable()

    def disable(self) -> None:
        self._files.disable()

    def flush(self) -> None:
        self._files.flush()
