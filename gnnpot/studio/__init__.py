"""A graphical interface in the browser: build structures from sentences, and follow calculations on them as they run.

This subpackage holds the server, its worker processes and the page. It builds structures with `builder`, moves atoms
with `engines` and calculates properties with `properties`. `serve(StudioConfig())` runs the server;
`make_app(config, folder, token)` returns the ASGI application.
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
