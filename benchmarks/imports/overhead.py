"""What queue, SQL and S3 add to an import's compute: handlers run one after the other, with a clock at each port."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from benchmarks.inprocess import in_process
from core.context import Context
from core.models import JobState, Queue
from core.ports import Doorbell
from core.settings import Settings
from storage.engine import create_engine
from storage.objects import S3ObjectStore
from storage.uow import SqlUnitOfWork

PORTS = ("s3", "sql", "queue")


@dataclass
class Clock:
    """Seconds spent behind each port."""

    spent_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PORTS, 0.0))

    @contextmanager
    def at(self, port: str) -> Iterator[None]:
        """Time what happens inside, without what other ports take of it."""
        began_s, others_s = time.perf_counter(), self._others(port)
        try:
            yield
        finally:
            self.spent_s[port] += time.perf_counter() - began_s - (self._others(port) - others_s)

    def _others(self, port: str) -> float:
        return sum(seconds for name, seconds in self.spent_s.items() if name != port)


class TimedStore(S3ObjectStore):
    """The object store with a clock."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        super().__init__(settings)
        self._clock = clock

    def put(self, key: str, data: bytes, *, media_type: str) -> None:
        """As ever."""
        with self._clock.at("s3"):
            super().put(key, data, media_type=media_type)

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """As ever."""
        with self._clock.at("s3"):
            return super().get(key, max_bytes=max_bytes)

    def open(self, key: str) -> BinaryIO:
        """As ever; what is read of it later is timed by `read_range`."""
        with self._clock.at("s3"):
            return super().open(key)

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """As ever."""
        with self._clock.at("s3"):
            return super().read_range(key, offset, length)


class TimedUnitOfWork(SqlUnitOfWork):
    """A transaction with a clock, from its beginning to its end. Give it the `clock` before it begins."""

    clock: Clock

    def __enter__(self) -> Self:
        """As ever."""
        self._timing = self.clock.at("sql")
        self._timing.__enter__()
        return super().__enter__()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As ever."""
        try:
            super().__exit__(exc_type, exc, traceback)
        finally:
            self._timing.__exit__(None, None, None)


@dataclass(frozen=True)
class TimedDoorbell:
    """A doorbell with a clock."""

    bell: Doorbell
    clock: Clock

    def ring(self, queue: Queue, *, times: int = 1) -> bool:
        """As ever."""
        with self.clock.at("queue"):
            return self.bell.ring(queue, times=times)

    def depth(self, queue: Queue) -> int | None:
        """As ever."""
        return self.bell.depth(queue)

    def check(self) -> None:
        """As ever."""
        self.bell.check()


@dataclass(frozen=True)
class Profile:
    """Where an import's time goes, in seconds; `compute` is everything that is not behind a port."""

    encoder: str
    images: int
    whole_s: float
    spent_s: dict[str, float]

    @property
    def compute_s(self) -> float:
        """Planning, reading archives, hashing, validating, thumbnails, decoding, encoding."""
        return self.whole_s - sum(self.spent_s.values())

    @property
    def overhead_share(self) -> float:
        """What the ports add to the compute time."""
        return sum(self.spent_s.values()) / self.compute_s

    def as_json(self) -> dict[str, object]:
        """For the results."""
        return {
            "encoder": self.encoder,
            "images": self.images,
            "whole_s": round(self.whole_s, 2),
            "compute_s": round(self.compute_s, 2),
            **{f"{port}_s": round(seconds, 2) for port, seconds in self.spent_s.items()},
            "overhead_share": round(self.overhead_share, 3),
        }


def profile(encoder: str, spec: str, archive: Path, images: int) -> Profile:
    """Import the archive by one thread. RuntimeError unless all of it went through."""
    clock = Clock()

    def timed(ctx: Context) -> Context:
        engine = create_engine(ctx.settings)

        def uow(*, read_only: bool = False) -> TimedUnitOfWork:
            del read_only  # imports write
            made = TimedUnitOfWork(engine, ctx.settings)
            made.clock = clock
            return made

        return replace(
            ctx,
            uow=uow,
            objects=TimedStore(ctx.settings, clock),
            doorbell=TimedDoorbell(ctx.doorbell, clock),
        )

    with in_process(encoders={encoder: spec}, adapt=timed, decode_threads=1) as worker:
        job = worker.submit("profile", archive)
        clock.spent_s.update(dict.fromkeys(PORTS, 0.0))
        began_s = time.perf_counter()
        worker.work(Queue.INGEST, threads=1)
        worker.work(Queue.EMBED, threads=1)
        whole_s = time.perf_counter() - began_s
        ended = worker.job(job)
    if ended.state is not JobState.SUCCEEDED or ended.counters.created != images:
        raise RuntimeError(f"the import ended as {ended.state} with {ended.counters}")
    return Profile(encoder, images, whole_s, dict(clock.spent_s))
