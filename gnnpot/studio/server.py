"""`serve` runs the server of the page until Ctrl-C."""

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from gnnpot.errors import ConfigError
from gnnpot.extras import needs_extra
from gnnpot.runs.lock import RunLock
from gnnpot.studio.config import StudioConfig

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger(__name__)


def serve(config: StudioConfig | None = None, *, opened: Callable[[str], None] | None = None) -> None:
    """Serve the page until interrupted. Then jobs are stopped, and all files are removed unless `config.keep` is set.

    Args:
        config: Options and limits; `None`: the defaults.
        opened: Called with the address, including the token, once the server listens.

    Raises:
        ConfigError: The server can't listen on the address.
        MissingExtraError: The packages of the extra `studio` are missing.
    """
    config = config or StudioConfig()
    with needs_extra("gnnpot studio"):
        import starlette  # noqa: F401 - a missing package is reported before anything is done
        import uvicorn
        import websockets  # noqa: F401 - uvicorn refuses websockets without it

    from gnnpot.studio.app import make_app

    token = secrets.token_urlsafe(24)
    with _ended_by_sigterm(), _listening(config) as listener, _folder(config.keep) as folder:
        port = listener.getsockname()[1]
        settings = uvicorn.Config(
            make_app(config, folder, token), log_level="warning", access_log=False, ws="websockets-sansio",
            ws_max_size=2_000_000, server_header=False, timeout_graceful_shutdown=3,
        )  # fmt: skip
        server = uvicorn.Server(settings)
        asyncio.run(_serve(server, listener, lambda: opened(_address(config, port, token)) if opened else None))


async def _serve(server: "uvicorn.Server", listener: socket.socket, opened: Callable[[], None]) -> None:
    task = asyncio.create_task(server.serve(sockets=[listener]))
    # this flag is the only sign of uvicorn that it has started
    while not server.started and not task.done():  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    if server.started:
        opened()
    with contextlib.suppress(KeyboardInterrupt):
        await task


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Context manager in which SIGTERM raises an exception, so that temporary files are removed.

    While uvicorn runs, it handles the signal: it stops, and then raises the signal again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _address(config: StudioConfig, port: int, token: str) -> str:
    host = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host  # noqa: S104 - compared only
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/?token={token}"


@contextlib.contextmanager
def _listening(config: StudioConfig) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((config.host, config.port))
        except OSError as error:
            raise ConfigError(
                f"{config.host}:{config.port}: can't be listened on ({error.strerror}); give another --port"
            ) from None
        yield listener


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """The folder of the sessions: the user's folder, which one server can use at a time, or a temporary one."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="gnnpot-studio-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{keep}: can't be made ({error.strerror}); give another folder for --keep") from None
    with RunLock(keep, "a studio"):
        yield keep
