"""A server through the framework's test client, and how a page talks to it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("starlette", reason="needs the extra studio")
from typing import Self

from starlette.testclient import TestClient

from gnnpot.studio import StudioConfig, make_app

TOKEN = "a-token-of-the-tests"
ADDRESS = "http://127.0.0.1:8000"
SOCKETS = "ws://127.0.0.1:8000"
ORIGIN = {"origin": ADDRESS}


@contextmanager
def serving(folder, **options) -> Iterator[TestClient]:
    """A client with the cookie."""
    app = make_app(StudioConfig(**options), folder, TOKEN)
    with TestClient(app, base_url=ADDRESS) as client:
        client.get(f"/?token={TOKEN}")
        yield client


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[TestClient]:
    with serving(tmp_path_factory.mktemp("studio"), max_jobs=1, max_atoms=500) as found:
        yield found


class PageOf:
    """A page of a session: asks, and keeps the events that come meanwhile."""

    def __init__(self, client: TestClient, name: str | None = None) -> None:
        self.client, self.count, self.events = client, 0, []
        self.name = name or client.post("/sessions", headers=ORIGIN).json()["name"]
        self.socket = client.websocket_connect(f"{SOCKETS}/sessions/{self.name}/socket", headers=ORIGIN)

    def __enter__(self) -> Self:
        self.channel = self.socket.__enter__()
        self.first = self.channel.receive_json()
        return self

    def __exit__(self, *found) -> None:
        self.socket.__exit__(*found)

    def ask(self, what: str, language: str = "en", **values):
        self.count += 1
        self.channel.send_json({"request": self.count, "do": what, "language": language, **values})
        while True:
            message = self.channel.receive_json()
            if message["event"] == "answer" and message["request"] == self.count:
                return message
            self.events.append(message)

    def until(self, wanted):
        """Events up to the one that `wanted` is true of, which is returned."""
        for message in self.events:
            if wanted(message):
                return message
        while True:
            message = self.channel.receive_json()
            self.events.append(message)
            if wanted(message):
                return message

    def build(self, text: str, language: str = "en") -> dict:
        """The structure of a sentence."""
        number = self.ask("build", language, text=text, entry=None, mode="new")["entry"]
        return self.ask("show", entry=number)["full"]

    def ended(self, job: int) -> dict:
        """The state of a job when it has ended."""
        message = self.until(lambda m: m["event"] == "job_state" and m["job"]["number"] == job
                             and m["job"]["state"] in ("done", "failed", "stopped"))  # fmt: skip
        return message["job"]

    def upload(self, name: str, data: bytes):
        return self.client.post(f"/sessions/{self.name}/upload?name={name}", content=data, headers=ORIGIN)
