"""An S3 server on the loopback interface that fails now and then, as stores do at night."""

import random
import re
import socket
import threading
import time
from collections import Counter
from contextlib import suppress

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

FAULTS = ("503", "500", "reset", "slow", "403")
_SLOW_S = 2.0
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_INTERNAL = b"<Error><Code>InternalError</Code><Message>We had a problem.</Message></Error>"
_ANSWERS = {
    "503": ("503 Slow Down", _BUSY),
    "500": ("500 Internal Server Error", _INTERNAL),
    "403": ("403 Forbidden", _DENIED),
}
_IMAGE = re.compile(r"/(?P<run>[^/]+/[^/]+)/outputs/(?P<pair>[^/]+)/fused\.[a-z]+$")


class FaultyStore:
    """The server; ``rate`` of its answers are faults, all of them during an outage.

    Attributes:
        rate: Share of the requests that fail.
        outage: Whether every request fails now.
        injected: Faults so far, by kind.
        images: How often the image of a pair was written, by (run, pair).
        moved_at: When anything was last written below a run directory, by run.
    """

    def __init__(self, seed):
        self.rate, self.outage = 0.0, False
        self.injected, self.images, self.moved_at = Counter(), Counter(), {}
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()

    def _answer(self, environ, start_response):
        fault = self._fault(environ)
        if fault in _ANSWERS:
            status, body = _ANSWERS[fault]
            _read_body(environ)  # or it is taken for the next request
            start_response(status, [("Content-Type", "application/xml")])
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]
        if fault == "reset":
            with suppress(OSError):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        if fault == "slow":
            time.sleep(_SLOW_S)
        return self._app(environ, self._noting(environ, start_response))

    def _fault(self, environ):
        with self._lock:
            if not self.outage and self._random.random() >= self.rate:
                return None
            fault = self._random.choice(FAULTS)
            # Only sources are denied to us: a run directory that is denied stops its run.
            denies = environ["REQUEST_METHOD"] == "GET" and "_A." in environ["PATH_INFO"]
            if fault == "403" and not denies:
                fault = "503"
            self.injected[f"store {fault}"] += 1
            return fault

    def _noting(self, environ, start_response):
        def respond(status, headers, *more):
            if environ["REQUEST_METHOD"] == "PUT" and status.startswith("200"):
                self._note(environ["PATH_INFO"])
            return start_response(status, headers, *more)

        return respond

    def _note(self, path):
        with self._lock:
            run = "/".join(path.split("/")[2:3])
            self.moved_at[run] = time.monotonic()
            if match := _IMAGE.search(path):
                self.images[run, match["pair"]] += 1


def _read_body(environ):
    """To its end and no further: the connection stays open, and the client waits for the answer."""
    is_chunked = environ.get("wsgi.input_terminated")
    environ["wsgi.input"].read(-1 if is_chunked else int(environ.get("CONTENT_LENGTH") or 0))
