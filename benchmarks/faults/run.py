"""One run: an import into a gallery and tenant of its own, hurt at the planned moments, then counted."""

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx

from benchmarks.faults.inflict import inflict
from benchmarks.faults.plan import Kind, Strike
from benchmarks.faults.truth import Auditor, Count
from benchmarks.faults.watch import TERMINAL, Progress, Sql
from cli.local.up import Stack
from core.access import issue_key
from core.ports import UnitOfWorkFactory
from storage.objects import S3ObjectStore
from storage.uow import brief_uow_factory

_TICK_S = 0.05
_RETRY_S = 0.5
_GALLERY = "hurt"
_QUERIES = 2
_RETRIED = frozenset({409, 502, 503})


class RunFailedError(Exception):
    """A run went another way than planned; its text says how. Nothing can be said about the faults then."""


@dataclass
class Recovery:
    """A fault that is over, and when the stage that it hit committed its next batch."""

    strike: Strike
    over_s: float
    behind: int
    seconds: float | None = None

    def look(self, progress: Progress) -> None:
        """Note the first commit after the fault."""
        if self.seconds is None and (progress.ended or progress.behind(self.strike.kind) > self.behind):
            self.seconds = time.monotonic() - self.over_s


@dataclass(frozen=True)
class Outcome:
    """What a run came to; seconds from the import's request to its end."""

    state: str
    seconds: float
    count: Count
    recoveries: Sequence[Recovery]

    def as_json(self) -> dict[str, Any]:
        """For the run's file."""
        return {
            "state": self.state,
            "seconds": round(self.seconds, 2),
            "lost": self.count.lost,
            "duplicated": self.count.duplicated,
            "stuck": self.count.stuck,
            "count": asdict(self.count),
            "faults": [
                {**asdict(one.strike), "recovery_s": None if one.seconds is None else round(one.seconds, 2)}
                for one in self.recoveries
            ],
        }


@dataclass
class Lab:
    """A running stack, the pictures to import, and the undisturbed import that others are compared with."""

    stack: Stack
    catalog: Path
    truth: dict[str, str]
    sql: Sql
    uow_factory: UnitOfWorkFactory
    patience_s: float = 300.0
    reference: "Import | None" = None

    def tick(self) -> None:
        """Let a moment pass while the supervisor goes on."""
        self.stack.supervisor.poll()
        time.sleep(_TICK_S)

    def rest(self, seconds: float) -> None:
        """Let time pass while the supervisor goes on."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.tick()

    def auditor(self) -> Auditor:
        """Who counts."""
        reference = None if self.reference is None else self.reference.job_id
        return Auditor(self.sql, S3ObjectStore(self.stack.settings), self.truth, reference)


@contextmanager
def laboratory(stack: Stack, catalog: Path, truth: dict[str, str], *, patience_s: float = 300.0) -> Iterator[Lab]:
    """What runs need besides the stack. `patience_s` is how long anything may take before it counts as stuck."""
    with (
        Sql(stack.settings.database_url) as sql,
        brief_uow_factory(stack.settings, application_name="setr-faults") as uow_factory,
    ):
        yield Lab(stack, catalog, truth, sql, uow_factory, patience_s)


@dataclass
class Import:
    """An import under way, by the tenant with this API key; and queries that must end too (key and job)."""

    lab: Lab
    key: str
    job_id: UUID
    queries: list[tuple[str, str]] = field(default_factory=list)


def run(lab: Lab, name: str, strikes: Sequence[Strike]) -> Outcome:
    """Import as tenant `name`, inflict the strikes, wait for the end, count. The first run becomes the reference.

    What does not end in time is counted as stuck. RunFailedError when that keeps a strike from its moment.
    """
    began_s = time.monotonic()
    recoveries: list[Recovery] = []
    key = issue_key(lab.uow_factory, tenant=name, label="faults")
    imported = _begin(lab, key, [strike for strike in strikes if strike.mid_upload], recoveries)
    progress = _follow(imported, [strike for strike in strikes if not strike.mid_upload], recoveries)
    seconds = time.monotonic() - began_s
    if len(recoveries) < len(strikes):
        raise RunFailedError(f"Run {name} is {progress.state} before all faults had their turn; run it again.")
    open_queries = sum(not _answered(imported, *query) for query in imported.queries)
    count = lab.auditor().count(imported.job_id, open_jobs=open_queries + (not progress.ended))
    if lab.reference is None:
        lab.reference = imported
    return Outcome(progress.state, seconds, count, recoveries)


class _Interrupted(io.BytesIO):
    """An upload that the strikes hit half-way."""

    def __init__(self, lab: Lab, strikes: Sequence[Strike], recoveries: list[Recovery]) -> None:
        super().__init__(lab.catalog.read_bytes())
        self._half = len(self.getbuffer()) // 2
        self._lab = lab
        self._left = list(strikes)
        self._recoveries = recoveries

    def read(self, size: int | None = -1, /) -> bytes:
        """As every file does, but with an incident in the middle."""
        if self._left and self.tell() >= self._half:
            strike = self._left.pop()
            inflict(self._lab.stack, strike, rest=self._lab.rest)
            self._recoveries.append(Recovery(strike, time.monotonic(), 0))
        return super().read(size)


def _begin(lab: Lab, key: str, strikes: Sequence[Strike], recoveries: list[Recovery]) -> Import:
    """Make the gallery and send the import, again with the same Idempotency-Key while it fails."""
    _insist(lab, lambda: _call(lab, key, "POST", "/galleries", json={"name": _GALLERY}))
    upload = _Interrupted(lab, strikes, recoveries)
    once = {"Idempotency-Key": str(uuid4())}

    def send() -> httpx.Response:
        upload.seek(0)
        files = {"file": ("catalog.zip", upload, "application/zip")}
        return _call(lab, key, "POST", f"/galleries/{_GALLERY}/imports", files=files, headers=once)

    return Import(lab, key, UUID(_insist(lab, send).json()["id"]))


def _call(
    lab: Lab, key: str, method: str, path: str, *, headers: Mapping[str, str] | None = None, **rest: Any
) -> httpx.Response:
    sent = {"Authorization": f"Bearer {key}", **(headers or {})}
    return httpx.request(method, lab.stack.url + path, headers=sent, timeout=60.0, **rest)


def _insist(lab: Lab, send: Callable[[], httpx.Response]) -> httpx.Response:
    """Repeat a request while the API is away, as a client should. RunFailedError when it is refused."""
    deadline_s = time.monotonic() + lab.patience_s
    while time.monotonic() < deadline_s:
        with suppress(httpx.TransportError):
            answer = send()
            if answer.is_success:
                return answer
            if answer.status_code not in _RETRIED:
                raise RunFailedError(f"{answer.request.url} answered {answer.status_code}: {answer.text}")
        lab.rest(_RETRY_S)
    raise RunFailedError(f"The API did not answer within {lab.patience_s:g} s.")


def _follow(imported: Import, strikes: Sequence[Strike], recoveries: list[Recovery]) -> Progress:
    """Watch the job until it ends or time is up, and strike whenever a moment has come."""
    lab, left = imported.lab, list(strikes)
    deadline_s = time.monotonic() + lab.patience_s
    progress = Progress("queued", 0, 0, 0, 0)
    while time.monotonic() < deadline_s and not progress.ended:
        lab.tick()
        progress = lab.sql.look(imported.job_id) or progress
        for recovery in recoveries:
            recovery.look(progress)
        if left and not progress.ended and progress.share(left[0].kind) >= left[0].moment:
            recoveries.append(_strike(imported, left.pop(0)))
    return progress


def _strike(imported: Import, strike: Strike) -> Recovery:
    lab = imported.lab
    lab.rest(strike.jitter_s)
    if strike.kind is Kind.KILL_QUERY and lab.reference is not None:
        asker = lab.reference
        imported.queries += [(asker.key, _ask(asker, number)) for number in range(_QUERIES)]
    inflict(lab.stack, strike, rest=lab.rest)
    progress = lab.sql.look(imported.job_id)
    return Recovery(strike, time.monotonic(), 0 if progress is None else progress.behind(strike.kind))


def _ask(asker: Import, number: int) -> str:
    """A composed query over the reference's gallery; returns its job."""
    reference = sorted(asker.lab.truth)[number]
    query = {"reference": {"external_id": reference}, "text": "in red", "rerank": {"depth": 20}}
    path = f"/galleries/{_GALLERY}/queries"
    return str(_insist(asker.lab, lambda: _call(asker.lab, asker.key, "POST", path, json=query)).json()["id"])


def _answered(imported: Import, key: str, job_id: str) -> bool:
    """Whether a query ends with results."""
    deadline_s = time.monotonic() + imported.lab.patience_s
    while time.monotonic() < deadline_s:
        job = _insist(imported.lab, lambda: _call(imported.lab, key, "GET", f"/jobs/{job_id}")).json()
        if job["state"] in TERMINAL:
            return bool(job["state"] == "succeeded" and job["result"]["results"])
        imported.lab.tick()
    return False
