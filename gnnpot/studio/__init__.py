"""A page in the browser on this machine: structures from sentences, and what a potential does to them, live.

The server, its job processes and the page stand here; making structures (`builder`), moving atoms (`engines`) and
measuring (`properties`) do not. Others call `serve(StudioConfig())`, or `make_app(config, folder)` for the ASGI
application.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnnpot.studio.app import make_app
    from gnnpot.studio.config import StudioConfig
    from gnnpot.studio.server import serve

__all__ = ["StudioConfig", "make_app", "serve"]

_WHERE = {"StudioConfig": "config", "make_app": "app", "serve": "server"}


def __getattr__(name: str) -> Any:
    # on demand, so that the command line starts without the server's packages
    import importlib

    if name in _WHERE:
        return getattr(importlib.import_module(f"gnnpot.studio.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'gnnpot.studio' has no attribute '{name}'")
