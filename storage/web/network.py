"""Connections for the HTTP library: to checked addresses only, and within a time that covers everything.

The check is made by what opens the socket, and the socket goes to the checked address, so that neither a redirect nor a
second answer of a name server leads anywhere else. TLS and the Host header go on to use the host's name.
"""

import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
from httpcore import SOCKET_OPTION

from storage.web.addresses import AddressRules

CONNECT_TIMEOUT_S = 5.0


class Deadline:
    """When the calling thread's request must be over."""

    def __init__(self) -> None:
        self._local = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """The time that everything inside may take together."""
        self._local.until_s = time.monotonic() + seconds
        try:
            yield
        finally:
            del self._local.until_s

    def left_s(self) -> float:
        """Seconds that are left; ReadTimeout when none is."""
        left_s: float = self._local.until_s - time.monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout("the time for the whole request is over")
        return left_s


class GuardedBackend(httpcore.NetworkBackend):
    """Opens sockets by the rules. ItemErrors of the rules pass through the HTTP library unchanged."""

    def __init__(self, rules: AddressRules, deadline: Deadline) -> None:
        self._rules = rules
        self._deadline = deadline
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline rules
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first of the host's allowed addresses that answers."""
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self._rules.reachable(host, port):
            limit_s = min(CONNECT_TIMEOUT_S, self._deadline.left_s())
            try:
                stream = self._plain.connect_tcp(address, port, limit_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every wait ends when the request's time is over, however slowly bytes drip."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the deadline rules
        return self._stream.read(max_bytes, self._deadline.left_s())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the deadline rules
        self._stream.write(buffer, self._deadline.left_s())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the deadline rules
    ) -> httpcore.NetworkStream:
        secure = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left_s())
        return _TimedStream(secure, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
