"""The last unit of a query batch: one file of all answers, in the order of the questions."""

import heapq
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, BinaryIO, cast

from core.batchlines import POISON, from_ndjson, from_outcome, to_ndjson
from core.context import Context
from core.jobs import TERMINAL
from core.keys import batch_part_key, batch_result_key
from core.lease import still_moving
from core.models import BatchPart, ClaimedUnit, ItemOutcome, Job, Outcome, Queue
from core.ports import UnitOfWork
from core.querybatches import FORMAT, MEDIA_TYPE

ITEMS_A_PAGE = 1000

Numbered = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class BatchResultHandler:
    """Runs `batch_result` units."""

    ctx: Context

    def open(self, unit: ClaimedUnit, job: Job) -> "_Joining":
        """Nothing to load."""
        del unit
        return _Joining(self.ctx, job)


@dataclass(frozen=True, slots=True)
class _Joining:
    ctx: Context
    job: Job
    batch_items: int = 1

    def compute(self, start: int, stop: int) -> "_Joined":
        """Join the parts in a file on disk, and store that. Doing it again writes the same."""
        del start, stop
        with self.ctx.uow() as uow:
            parts = uow.batch_parts.list(self.job.id)
            lost = self._lost(uow, sum(part.lines for part in parts))
        key, lines = batch_result_key(self.job.tenant_id, self.job.id), 0
        with tempfile.TemporaryFile() as file:
            for _, line in heapq.merge(self._lines(parts), lost):
                file.write(line + b"\n")
                lines += 1
            size_bytes = file.tell()
            file.seek(0)
            self.ctx.objects.put_stream(key, cast("BinaryIO", file), media_type=MEDIA_TYPE)
        return _Joined(self.job, {"format": FORMAT, "lines": lines, "size_bytes": size_bytes, "key": key})

    def _lines(self, parts: Sequence[BatchPart]) -> Iterator[Numbered]:
        """Stored lines in order: only those of one range are mixed, as some of them waited for the judge."""
        for _, of_range in groupby(parts, key=lambda part: part.first_line):
            still_moving()
            keys = [batch_part_key(self.job.tenant_id, self.job.id, part.id) for part in of_range]
            yield from sorted(line for key in keys for line in from_ndjson(self.ctx.objects.get(key)))

    def _lost(self, uow: UnitOfWork, stored: int) -> list[Numbered]:
        """Lines that killed their workers have no part, only an outcome."""
        fresh = uow.jobs.get(self.job.tenant_id, self.job.id)
        if fresh is None or fresh.state in TERMINAL or fresh.counters.done == stored:
            return []
        lost: list[Numbered] = []
        after: str | None = None
        while True:
            page = uow.items.page(self.job.id, outcome=Outcome.FAILED, size=ITEMS_A_PAGE, after=after)
            lines = [from_outcome(failure) for failure in page.items if failure.code == POISON]
            lost += [(line["line"], to_ndjson([line]).rstrip(b"\n")) for line in lines]
            if page.next_key is None:
                return sorted(lost)
            after = page.next_key

    def poison(self, item: int) -> ItemOutcome | None:  # noqa: ARG002 - the port's signature
        """Without a file nobody can read the answers."""
        return None


@dataclass(frozen=True, slots=True)
class _Joined:
    job: Job
    result: dict[str, Any]

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Say where the file is."""
        uow.jobs.set_result(self.job.id, self.result)
        return ()

    def rings(self) -> Sequence[Queue]:
        """Nothing follows."""
        return ()
