"""A shop's web server: a manifest and its pictures, with ETags, some of which change over night."""

import csv
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZipFile

MANIFEST = "/catalog.csv"


@dataclass
class Served:
    """What went out: pictures with their bytes, and pictures of which it was enough to say that they are the same."""

    bodies: int = 0
    not_modified: int = 0


@dataclass
class Site:
    """Row `n` shows picture `shown[n]` of the archive. A change gives a row one that none has shown before."""

    archive: ZipFile
    names: list[str]
    rows: int
    port: int = 0
    served: Served = field(default_factory=Served)
    shown: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.shown = list(range(self.rows))

    @property
    def manifest_url(self) -> str:
        """Where the manifest is."""
        return f"http://127.0.0.1:{self.port}{MANIFEST}"

    def change(self, count: int) -> None:
        """Another picture in `count` rows, evenly spread. ValueError when the archive has none left."""
        spare = max(self.shown) + 1
        if spare + count > len(self.names):
            raise ValueError(f"the archive has {len(self.names)} pictures; {spare + count} are needed")
        for number in range(count):
            self.shown[number * self.rows // count] = spare + number

    def manifest(self) -> bytes:
        """One row for each picture; prices stay as they are."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("external_id", "image", "price"))
        for row in range(self.rows):
            writer.writerow((f"sku-{row:07d}", f"http://127.0.0.1:{self.port}/{row}.jpg", f"{5 + row % 200}.50"))
        return text.getvalue().encode()

    def answer(self, path: str, known_etag: str | None) -> tuple[HTTPStatus, str, bytes]:
        """Status, ETag and body of a GET."""
        if path == MANIFEST:
            return HTTPStatus.OK, "", self.manifest()
        picture = self.shown[int(path.removeprefix("/").removesuffix(".jpg"))]
        etag = f'"{picture}"'
        with self._lock:
            if known_etag == etag:
                self.served.not_modified += 1
                return HTTPStatus.NOT_MODIFIED, etag, b""
            self.served.bodies += 1
            return HTTPStatus.OK, etag, self.archive.read(self.names[picture])


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # of five, the default, more connections at once would wait for a second try
    daemon_threads = True


@contextmanager
def shop(archive: Path, rows: int) -> Iterator[Site]:
    """The site on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes, which would wait for each other

        def do_GET(self) -> None:
            status, etag, body = site.answer(self.path, self.headers.get("If-None-Match"))
            self.send_response(status)
            self.send_header("ETag", etag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ZipFile(archive) as opened, _Server(("127.0.0.1", 0), Handler) as server:
        names = sorted(name for name in opened.namelist() if name.endswith(".jpg"))
        site = Site(opened, names, rows, port=server.server_port)
        thread = threading.Thread(target=server.serve_forever, name="shop")
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
