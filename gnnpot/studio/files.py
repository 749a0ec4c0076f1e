"""The files of the page. All are read at the start, so that requested names are never looked up in a folder."""

import gzip
from importlib import resources

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

MEDIA = {
    ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".webp": "image/webp",
    ".json": "application/json",
}  # fmt: skip
#: suffixes of files that are sent compressed
TEXT = (".html", ".js", ".css", ".svg", ".json")


class Page:
    """The files of `gnnpot/studio/page` and 3Dmol.js."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, bytes, str]] = {}
        folder = resources.files("gnnpot.studio") / "page"
        for item in (*folder.iterdir(), resources.files("gnnpot.builder") / "assets" / "3Dmol-min.js"):
            suffix = "." + item.name.rpartition(".")[2]
            if item.is_file() and suffix in MEDIA:
                data = item.read_bytes()
                packed = gzip.compress(data, 6) if suffix in TEXT else data
                self._files[item.name] = data, packed, suffix

    def response(self, name: str, request: Request) -> Response:
        """Return a file by its name, or status 404."""
        if name not in self._files:
            return PlainTextResponse("404: there is no such file", status_code=404)
        data, packed, suffix = self._files[name]
        accepted = "gzip" in request.headers.get("accept-encoding", "") and packed is not data
        headers = {"Content-Encoding": "gzip"} if accepted else {}
        return Response(packed if accepted else data, media_type=MEDIA[suffix], headers=headers)
