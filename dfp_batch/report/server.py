"""The HTTP side: routes, who may ask, and what a failure looks like."""

import asyncio
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from aiohttp import web

from dfp_batch.errors import ConfigError, DfpError, ObjectMissingError
from dfp_batch.report.service import RunService

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = TypeVar("Answer")

_SERVICE = web.AppKey("service", RunService)
_TOKEN = web.AppKey("token", str)
_MOST_MARKS_BYTES = 1 << 22
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_A_WHILE = {"Cache-Control": "private, max-age=60"}
_NOT_KEPT = {"Cache-Control": "no-store"}


def serve(url: str, host: str, port: int, started: Callable[[str], None]) -> None:
    """Answer until the process is interrupted.

    Args:
        url: Run directory.
        host: Name or address to listen at.
        port: Likewise; 0 is any that is free.
        started: Called once with the URL of the page.

    Raises:
        ConfigError: if there is no run, or nobody can listen there.
        LedgerError: if the run is damaged.
    """
    app = make_app(url, is_loopback(host))
    try:
        asyncio.run(_until_interrupted(app, host, port, started))
    except KeyboardInterrupt:
        return


def make_app(url: str, only_loopback: bool = True) -> web.Application:
    """The application of one run.

    Args:
        url: Run directory.
        only_loopback: Refuse whoever calls this machine by another name: a page from elsewhere
            may have its own name lead here.
    """
    token = secrets.token_urlsafe()
    guards = [_told, _called_by_its_name] if only_loopback else [_told]
    app = web.Application(middlewares=guards, client_max_size=_MOST_MARKS_BYTES)
    app[_SERVICE], app[_TOKEN] = RunService(url, token), token
    item, name = r"/items/{number:\d{1,9}}", r"{name:[a-z]+(?:-\d{1,6})?}"
    app.add_routes(
        [
            web.get("/", _page),
            web.get(item, _details),
            web.get(item + "/preview.jpg", _preview),
            web.get(item + "/result", _result),
            web.get(f"{item}/small/{name}", _small),
            web.get(item + "/tiles/" + name + r"/{level:\d{1,2}}/{x:\d{1,6}}_{y:\d{1,6}}", _tile),
            web.post("/marks", _marks),
        ]
    )
    return app


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


async def _until_interrupted(
    app: web.Application, host: str, port: int, started: Callable[[str], None]
) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(
            f"cannot listen at {host}:{port} ({error.strerror}); choose another --port"
        ) from error
    own = runner.addresses[0]
    started(f"http://{f'[{host}]' if ':' in host else host}:{own[1]}/")
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


@web.middleware
async def _told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Failures as one line; nothing is guessed of the type of what is sent."""
    try:
        answer = await handler(request)
    except ObjectMissingError as error:
        answer = web.Response(status=404, text=_line(error))
    except ConfigError as error:
        answer = web.Response(status=400, text=_line(error))
    except DfpError as error:
        answer = web.Response(status=502, text=_line(error))
    answer.headers.update(_HEADERS)
    return answer


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


@web.middleware
async def _called_by_its_name(request: web.Request, handler: Handler) -> web.StreamResponse:
    name = request.host.rpartition(":")[0] or request.host
    if not is_loopback(name):
        text = f"this server answers to localhost only, not to {name}; see --host"
        return web.Response(status=403, text=text)
    return await handler(request)


async def _page(request: web.Request) -> web.Response:
    text = await _apart(request.app[_SERVICE].page)
    return web.Response(text=text, content_type="text/html", headers=_NOT_KEPT)


async def _details(request: web.Request) -> web.Response:
    found = await _apart(request.app[_SERVICE].details, _number(request))
    return web.json_response(found, headers=_NOT_KEPT)


async def _preview(request: web.Request) -> web.Response:
    data = await _apart(request.app[_SERVICE].preview, _number(request))
    return web.Response(body=data, content_type="image/jpeg", headers=_A_WHILE)


async def _result(request: web.Request) -> web.Response:
    name, data = await _apart(request.app[_SERVICE].result, _number(request))
    told = {"Content-Disposition": f'attachment; filename="{name}"', **_NOT_KEPT}
    return web.Response(body=data, content_type="application/octet-stream", headers=told)


async def _small(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    data = await _apart(request.app[_SERVICE].small, _number(request), name)
    return web.Response(body=data, content_type="image/webp", headers=_A_WHILE)


async def _tile(request: web.Request) -> web.Response:
    asked = request.match_info
    place = int(asked["level"]), int(asked["x"]), int(asked["y"])
    work = partial(request.app[_SERVICE].tile, _number(request), asked["name"], place)
    data, kind = await _apart(work)
    return web.Response(body=data, content_type=kind, headers=_A_WHILE)


async def _marks(request: web.Request) -> web.Response:
    """A mark comes from our own page: only it knows the token."""
    token = request.headers.get("X-Dfp-Token", "")
    if not secrets.compare_digest(token.encode(), request.app[_TOKEN].encode()):
        return web.Response(status=403, text="the page is of another server; load it again")
    try:
        changes = dict((await request.json())["marks"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError('expected {"marks": {"ID": "accepted", "rejected" or null}}') from error
    count = await _apart(request.app[_SERVICE].mark, changes)
    return web.json_response({"marks": count}, headers=_NOT_KEPT)


def _number(request: web.Request) -> int:
    return int(request.match_info["number"])


async def _apart(work: Callable[..., Answer], *arguments: object) -> Answer:
    """In a thread: stores and codecs take their time."""
    return await asyncio.to_thread(work, *arguments)
