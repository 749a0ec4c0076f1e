"""The ASGI application: the page, its data, a websocket for each page, uploads and downloads.

| address                                | content                                                     |
|----------------------------------------|-------------------------------------------------------------|
| `/`                                    | the page; with `?token=` it sets the cookie                 |
| `/page/NAME`                           | a file of the page; all are read when the server starts     |
| `/data`                                | potentials, gallery, schema of the recipe, limits           |
| `/sessions`                            | POST: a new session; GET: sessions that hold structures     |
| `/sessions/ID/socket`                  | the websocket                                               |
| `/sessions/ID/upload?name=`            | POST: a structure file                                      |
| `/sessions/ID/structure/N.FORMAT`      | a structure as cif, vasp, extxyz                            |
| `/sessions/ID/job/N/trajectory.extxyz` | the frames of a job                                         |
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from gnnpot.studio.building import Builder
from gnnpot.studio.commands import Studio
from gnnpot.studio.config import StudioConfig
from gnnpot.studio.files import Page
from gnnpot.studio.guard import Access, Guard
from gnnpot.studio.jobs import TRAJECTORY
from gnnpot.studio.messages import say
from gnnpot.studio.models import page_data, potential_arguments
from gnnpot.studio.process import Pool, WorkerError
from gnnpot.studio.runner import Runner
from gnnpot.studio.sessions import Session, Sessions

MEDIA = {"cif": "chemical/x-cif", "vasp": "text/plain", "extxyz": "text/plain"}
#: largest length of a message from the page, in characters
MAX_MESSAGE = 1_000_000
#: messages that may wait for a slow page before it is disconnected; when it reconnects, it gets the present state
MAX_BEHIND = 500


def make_app(config: StudioConfig, folder: Path, token: str) -> Starlette:
    """Return the ASGI application.

    Args:
        config: Options and limits.
        folder: Folder of the sessions.
        token: Token that the address of the page must contain.
    """
    page = Page()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        pool = Pool(config.max_memory)
        pool.prepare("builder")
        pool.prepare("engine")
        runner = Runner(pool, config)
        sessions = Sessions(folder, config.max_sessions)
        app.state.studio = Studio(
            config, sessions, Builder(pool, config.build_seconds), runner, potential_arguments(config)
        )
        app.state.page = page
        app.state.data = asyncio.ensure_future(asyncio.to_thread(page_data, config))
        yield
        await runner.close()
        await pool.close()

    routes = [
        Route("/", _index),
        Route("/page/{name}", _page_file),
        Route("/data", _data),
        Route("/sessions", _sessions, methods=["GET", "POST"]),
        WebSocketRoute("/sessions/{session}/socket", _socket),
        Route("/sessions/{session}/upload", _upload, methods=["POST"]),
        Route("/sessions/{session}/structure/{number:int}.{format}", _structure),
        Route("/sessions/{session}/job/{number:int}/trajectory.extxyz", _trajectory),
    ]
    guard = Middleware(Guard, access=Access(token, config.is_local))
    return Starlette(routes=routes, middleware=[guard], lifespan=lifespan)


def _studio(request: Request | WebSocket) -> Studio:
    return request.app.state.studio


def _session(request: Request | WebSocket) -> Session | None:
    return _studio(request).sessions.all.get(request.path_params["session"])


async def _index(request: Request) -> Response:
    return request.app.state.page.response("index.html", request)


async def _page_file(request: Request) -> Response:
    return request.app.state.page.response(request.path_params["name"], request)


async def _data(request: Request) -> Response:
    return JSONResponse(await request.app.state.data)


async def _sessions(request: Request) -> Response:
    sessions = _studio(request).sessions
    if request.method == "GET":
        return JSONResponse(sessions.recent())
    session = sessions.create()
    if session is None:
        return PlainTextResponse("429: there are too many sessions", status_code=429)
    return JSONResponse({"name": session.name})


async def _socket(socket: WebSocket) -> None:
    """Send the events of the session and receive the messages of the page; each message is answered in its own task."""
    session = _session(socket)
    await socket.accept()
    if session is None:
        await socket.close(4404, "there is no such session")
        return
    behind: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_BEHIND)

    def enqueue(message: dict[str, Any]) -> None:
        try:
            behind.put_nowait(message)
        except asyncio.QueueFull:
            session.subscribers.discard(enqueue)

    enqueue(session.snapshot())
    session.subscribers.add(enqueue)
    sending = asyncio.create_task(_send(socket, behind, session, enqueue))
    answering: set[asyncio.Task[None]] = set()

    async def answer(text: str) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            message = None
        enqueue(await _studio(socket).answer(session, message))

    try:
        while True:
            text = await socket.receive_text()
            if len(text) > MAX_MESSAGE:
                await socket.close(1009)
                break
            task = asyncio.create_task(answer(text))
            answering.add(task)
            task.add_done_callback(answering.discard)
    except (WebSocketDisconnect, RuntimeError, KeyError):
        # KeyError: a binary message, which the page never sends
        pass
    finally:
        session.subscribers.discard(enqueue)
        sending.cancel()


async def _send(socket: WebSocket, behind: asyncio.Queue[dict[str, Any]], session: Session, enqueue: Any) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while enqueue in session.subscribers or not behind.empty():
            await socket.send_text(json.dumps(await behind.get()))
        await socket.close(1013)


async def _upload(request: Request) -> Response:
    studio, session = _studio(request), _session(request)
    language = request.query_params.get("language", "en")
    if session is None:
        return PlainTextResponse("404: there is no such session", status_code=404)
    limit = studio.config.max_upload
    refused = JSONResponse({"problem": say("upload_size", language, limit=f"{limit / 1e6:g}")}, status_code=413)
    if int(request.headers.get("content-length", "0")) > limit:
        return refused
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limit:
            return refused
    answer = await studio.upload(session, request.query_params.get("name", ""), bytes(data), language)
    return JSONResponse(answer, status_code=422 if "problem" in answer else 200)


async def _structure(request: Request) -> Response:
    session, format = _session(request), request.path_params["format"]
    entry = session.entries.get(request.path_params["number"]) if session else None
    if entry is None or format not in MEDIA:
        return PlainTextResponse("404: there is no such structure", status_code=404)
    try:
        found = await _studio(request).builder.ask({"do": "export", "structure": entry.structure, "format": format})
    except WorkerError as error:
        return PlainTextResponse(say(error.reason, "en"), status_code=500)
    name = f"{entry.structure['formula']}-{entry.number}.{format}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(found["text"], media_type=MEDIA[format], headers=headers)


async def _trajectory(request: Request) -> Response:
    session = _session(request)
    job = session.jobs.get(request.path_params["number"]) if session else None
    if job is None or not (job.folder / TRAJECTORY).is_file():
        return PlainTextResponse("404: there is no such trajectory", status_code=404)
    target = job.folder / "trajectory.extxyz"
    question = {"do": "trajectory", "path": str(job.folder / TRAJECTORY), "target": str(target)}
    try:
        await _studio(request).builder.ask(question)
    except WorkerError as error:
        return PlainTextResponse(say(error.reason, "en"), status_code=500)
    name = f"{job.structure['formula']}-{job.kind}-{job.number}.extxyz"
    return FileResponse(target, filename=name, media_type="text/plain")
