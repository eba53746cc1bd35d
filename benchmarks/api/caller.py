"""An HTTP client as light as the standard library has it: it shares the machine with what it measures."""

import json
from http import HTTPStatus
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from benchmarks.faults.watch import TERMINAL

TIMEOUT_S = 120.0


class CallFailedError(Exception):
    """An answer that a benchmark cannot go on with."""


class Caller:
    """One connection that is kept alive; not for several threads."""

    def __init__(self, url: str, api_key: str) -> None:
        address = urlsplit(url)
        self._connection = HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_S)
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, path: str) -> bytes:
        """The body of a 200."""
        return self._call("GET", path, None, HTTPStatus.OK)

    def post(self, path: str, body: dict[str, Any], *, expected: HTTPStatus = HTTPStatus.ACCEPTED) -> dict[str, Any]:
        """The JSON of the expected answer, a job unless said otherwise."""
        answer: dict[str, Any] = json.loads(self._call("POST", path, json.dumps(body), expected))
        return answer

    def job(self, job_id: str, *, wait_s: int = 0) -> dict[str, Any]:
        """A job, by a long-poll where a time is given."""
        found: dict[str, Any] = json.loads(self.get(f"/jobs/{job_id}?wait={wait_s}" if wait_s else f"/jobs/{job_id}"))
        return found

    def ended(self, job_id: str) -> dict[str, Any]:
        """A job once it has ended, by long-polls. CallFailedError unless it succeeded."""
        while True:
            job = self.job(job_id, wait_s=20)
            if job["state"] in TERMINAL:
                break
        if job["state"] != "succeeded":
            raise CallFailedError(f"Job {job_id} {job['state']}: {job['error']}")
        return job

    def _call(self, method: str, path: str, body: str | None, expected: HTTPStatus) -> bytes:
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status != expected:
            raise CallFailedError(f"{method} {path}: {answer.status} {data[:500]!r}")
        return data
