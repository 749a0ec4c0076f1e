"""Who may ask: token, cookie, Host, Origin; and what a browser is told."""

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from gnnpot.studio.guard import Access, Guard
from tests.studio.conftest import ADDRESS, ORIGIN, SOCKETS, TOKEN


@pytest.fixture
def stranger():
    """A client of a guarded application that answers everything, without the token."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route, WebSocketRoute

    async def answer(request):
        return PlainTextResponse("in")

    async def socket(websocket):
        await websocket.accept()
        await websocket.send_text("in")
        await websocket.close()

    routes = [Route("/{rest:path}", answer, methods=["GET", "POST"]), WebSocketRoute("/socket", socket)]
    return TestClient(Guard(Starlette(routes=routes), Access(TOKEN, local=True)), base_url=ADDRESS)


def test_the_token_opens_the_page_and_becomes_a_cookie(stranger):
    assert stranger.get("/").status_code == 403
    assert stranger.get("/data").status_code == 403
    assert stranger.get("/?token=wrong").status_code == 403
    found = stranger.get(f"/?token={TOKEN}")
    assert found.text == "in"
    cookie = found.headers["set-cookie"]
    assert cookie.startswith("gnnpot-studio-8000=") and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert stranger.get("/data").text == "in"


def test_the_token_in_the_address_opens_nothing_but_the_page(stranger):
    assert stranger.get(f"/data?token={TOKEN}").status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[", "127.0.0.1:x"])
def test_foreign_names_of_this_machine_are_refused(stranger, host):
    stranger.get(f"/?token={TOKEN}")
    assert stranger.get("/data", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("origin", [None, "http://evil.example", "http://127.0.0.1:9000", "null"])
def test_changes_need_the_own_origin(stranger, origin):
    stranger.get(f"/?token={TOKEN}")
    headers = {} if origin is None else {"origin": origin}
    assert stranger.post("/sessions", headers=headers).status_code == 403
    with pytest.raises(WebSocketDisconnect) as closed, stranger.websocket_connect(f"{SOCKETS}/socket", headers=headers):
        pass
    assert closed.value.code == 4403
    assert stranger.post("/sessions", headers=ORIGIN).text == "in"
    with stranger.websocket_connect(f"{SOCKETS}/socket", headers=ORIGIN) as socket:
        assert socket.receive_text() == "in"


def test_a_program_sends_the_token_as_a_header(stranger):
    assert stranger.post("/sessions", headers={"authorization": f"Bearer {TOKEN}"}).text == "in"
    assert stranger.post("/sessions", headers={"authorization": "Bearer wrong"}).status_code == 403
    foreign = {"authorization": f"Bearer {TOKEN}", "origin": "http://evil.example"}
    assert stranger.post("/sessions", headers=foreign).status_code == 403


def test_the_browser_runs_nothing_but_the_page(stranger):
    headers = stranger.get(f"/?token={TOKEN}").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
