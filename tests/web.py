"""A web server on this machine that answers as tests tell it, and remembers what it was asked."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias
from urllib.parse import urlsplit


class Exchange(BaseHTTPRequestHandler):
    """One request being answered."""

    protocol_version = "HTTP/1.1"

    def reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """A whole answer; a Content-Length among `headers` stands instead of the true one."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


Answer: TypeAlias = Callable[[Exchange], None]


@dataclass(eq=False)
class WebServer:
    """`pages` maps a path to its body, or to what answers; everything else is 404.

    Bodies carry an ETag of their content, and are not sent again to those who have them. `asked` holds (method, path)
    of each request, `bodies` the paths whose body went out.
    """

    pages: dict[str, bytes | Answer] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    posted: list[bytes] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    port: int = 0

    def url(self, path: str, *, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def forget(self) -> None:
        """Empty the memory of requests."""
        for seen in (self.asked, self.headers, self.posted, self.bodies):
            seen.clear()

    def answer(self, exchange: Exchange) -> None:
        self.asked.append((exchange.command, exchange.path))
        self.headers.append({name.lower(): value for name, value in exchange.headers.items()})
        self.posted.append(exchange.rfile.read(int(exchange.headers.get("Content-Length", 0))))
        page = self.pages.get(urlsplit(exchange.path).path)
        if page is None:
            exchange.reply(404)
        elif callable(page):
            page(exchange)
        else:
            tag = f'"{hash(page):x}"'
            if exchange.headers.get("If-None-Match") == tag:
                exchange.reply(304, headers={"ETag": tag})
                return
            self.bodies.append(exchange.path)
            exchange.reply(200, page, {"ETag": tag, "Content-Type": "image/jpeg"})


@dataclass(eq=False)
class Receiver:
    """Of webhooks: answers with the next of its statuses, then with 204, and keeps headers and body of what came."""

    statuses: list[int] = field(default_factory=list)
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def answer(self, exchange: Exchange) -> None:
        headers = {name.lower(): value for name, value in exchange.headers.items()}
        self.came.append((headers, exchange.rfile.read(int(headers["content-length"]))))
        exchange.reply(self.statuses.pop(0) if self.statuses else 204)


@contextmanager
def web_server() -> Iterator[WebServer]:
    """A server on a free port of 127.0.0.1."""
    site = WebServer()
    with _serving(site.answer) as site.port:
        yield site


@contextmanager
def webhook_receiver() -> Iterator[Receiver]:
    """A receiver on a free port of 127.0.0.1."""
    receiver = Receiver()
    with _serving(receiver.answer) as receiver.port:
        yield receiver


@contextmanager
def _serving(answer: Answer) -> Iterator[int]:
    """The port."""

    class Handler(Exchange):
        def do_GET(self) -> None:
            answer(self)

        def do_POST(self) -> None:
            answer(self)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
