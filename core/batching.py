"""Units of query batches: they answer a range of lines, and judge shortlists where a line asks for it.

Answers are stored in parts before the transaction that counts them names the part. So a part of a worker that died
between the two is never read, and its lines are answered again. See docs/adr/0023.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import UUID

from core.answering import Answer, Answered, Answering, Method
from core.batchlines import (
    POISON,
    POISON_DETAIL,
    Line,
    answered,
    error_code,
    failed,
    numbered,
    outcome,
    read_line,
    to_ndjson,
)
from core.context import Context
from core.errors import ServiceError, UnavailableError
from core.generations import active
from core.ids import new_id
from core.keys import batch_part_key
from core.lease import still_moving
from core.models import BatchPart, Candidate, ClaimedUnit, Gallery, ItemOutcome, Job, NewUnit, QueryParams, Queue
from core.ports import UnitOfWork
from core.queries import NewQuery, check, resolve, stored_query
from core.querybatches import MEDIA_TYPE, rerank_unit
from core.reranking import Judging
from core.results import passing, rows, with_rows
from core.search import result_facts

JUDGED_AT_ONCE = 4
_OF_SINGLE_QUERIES = frozenset({"provisional", "timings_ms"})


@dataclass(frozen=True, slots=True)
class Ranked:
    """A line with its candidates, best first, and what the stages said of it."""

    number: int
    client_id: str | int | None
    params: QueryParams
    candidates: tuple[Candidate, ...]
    facts: dict[str, Any]
    warnings: tuple[str, ...]

    @staticmethod
    def of(line: Line, params: QueryParams, answer: Answer) -> "Ranked":
        """After stage 1."""
        return Ranked(
            line.number, line.client_id, params, answer.candidates, result_facts(answer), warnings=answer.warnings
        )

    @staticmethod
    def of_json(raw: Mapping[str, Any]) -> "Ranked":
        """What `dump` wrote."""
        return Ranked(
            number=raw["number"],
            client_id=raw["client_id"],
            params=stored_query(raw["params"]),
            candidates=tuple(Candidate(**{**one, "image_id": UUID(one["image_id"])}) for one in raw["candidates"]),
            facts=raw["facts"],
            warnings=tuple(raw["warnings"]),
        )

    @property
    def waits(self) -> bool:
        """Whether the judge is to see it."""
        return self.params.rerank is not None and bool(self.candidates)


def dump(waiting: Sequence[Ranked]) -> bytes:
    """Lines that wait for the judge, as an object of the bucket."""
    return json.dumps([asdict(each) for each in waiting], default=str).encode()


def written(ctx: Context, finished: Sequence[Ranked]) -> list[dict[str, Any]]:
    """Output lines, with the attributes of all their images from one look."""
    shown = [passing(each.candidates, top_k=each.params.top_k, min_score=each.params.min_score) for each in finished]
    with ctx.uow() as uow:
        images = uow.images.many(list({candidate.image_id for some in shown for candidate in some}))
    return [
        answered(each.number, each.client_id, _result(each, rows(some, images, top_k=each.params.top_k)))
        for each, some in zip(finished, shown, strict=True)
    ]


def _result(ranked: Ranked, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """As of a single query, without what is only true of one."""
    whole = with_rows(ranked.facts, found)
    kept = {name: value for name, value in whole.items() if name not in _OF_SINGLE_QUERIES}
    return {**kept, "warnings": list(ranked.warnings)}


@dataclass(frozen=True, slots=True)
class _Place:
    """Whose answers they are: the range that begins at `first_line` of the job's file."""

    ctx: Context
    job: Job
    first_line: int

    def put(self, data: bytes, part_id: UUID) -> str:
        """Store a part; returns its key."""
        key = batch_part_key(self.job.tenant_id, self.job.id, part_id)
        self.ctx.objects.put(key, data, media_type=MEDIA_TYPE)
        return key

    def keep(self, lines: Sequence[Mapping[str, Any]], units: Sequence[NewUnit] = ()) -> "_Written":
        """Store output lines under a key that nobody else writes."""
        part = BatchPart(new_id(), self.first_line, len(lines))
        if lines:
            self.put(to_ndjson(lines), part.id)
        return _Written(self.job, part, [outcome(line) for line in lines], units)


@dataclass(frozen=True, slots=True)
class BatchSearchHandler:
    """Runs `batch_search` units."""

    method: Method

    def open(self, unit: ClaimedUnit, job: Job) -> "_Searching":
        """Read the range's lines; gallery, generation and encoder as for a single query."""
        ctx = self.method.ctx
        with ctx.uow() as uow:
            gallery, index = active(uow, job)
        with ctx.objects.open(job.params["key"]) as stream:
            stream.seek(unit.payload["offset"])
            data = stream.read(unit.payload["size_bytes"])
        first_line = unit.payload["first_line"]
        place = _Place(ctx, job, first_line)
        return _Searching(place, gallery, self.method.on(gallery, index), numbered(data, first_line))


@dataclass(frozen=True, slots=True)
class _Searching:
    place: _Place
    gallery: Gallery
    answering: Answering
    lines: tuple[tuple[int, bytes], ...]

    @property
    def batch_items(self) -> int:
        """All at once: that many were put into the unit."""
        return max(1, len(self.lines))

    def compute(self, start: int, stop: int) -> "_Written":
        """Answer lines; those that want a judge wait for it in an object of their own."""
        ctx = self.place.ctx
        lines = [read_line(number, data, ctx.settings) for number, data in self.lines[start:stop]]
        queries = self._resolved(lines)
        answers = iter(self.answering.answer([query for query in queries if isinstance(query, QueryParams)]))
        wrong, ranked = [], []
        for line, query in zip(lines, queries, strict=True):
            found: Answered = query if isinstance(query, ServiceError) else next(answers)
            if isinstance(query, ServiceError) or isinstance(found, ServiceError):
                wrong.append(_wrong(line, found))
            else:
                ranked.append(Ranked.of(line, query, found))
        ended = wrong + written(ctx, [each for each in ranked if not each.waits])
        return self.place.keep(ended, self._handed_on([each for each in ranked if each.waits]))

    def _resolved(self, lines: Sequence[Line]) -> list[QueryParams | ServiceError]:
        with self.place.ctx.uow() as uow:
            return [self._resolve(uow, line.asked) for line in lines]

    def _resolve(self, uow: UnitOfWork, asked: NewQuery | ServiceError) -> QueryParams | ServiceError:
        if isinstance(asked, ServiceError):
            return asked
        try:
            check(self.place.ctx, asked)
            return resolve(self.place.ctx, uow, self.gallery, asked)
        except UnavailableError:
            raise
        except ServiceError as error:
            return error

    def _handed_on(self, waiting: Sequence[Ranked]) -> list[NewUnit]:
        if not waiting:
            return []
        key = self.place.put(dump(waiting), new_id())
        return [rerank_unit(self.place.job, first_line=self.place.first_line, key=key, size=len(waiting))]

    def poison(self, item: int) -> ItemOutcome | None:
        """A query that keeps killing workers fails alone."""
        number, data = self.lines[item]
        return _given_up(number, read_line(number, data, self.place.ctx.settings).client_id)


def _wrong(line: Line, error: Answered) -> dict[str, Any]:
    if not isinstance(error, ServiceError):
        raise TypeError(error)
    return failed(line.number, line.client_id, code=error_code(error), detail=error.detail)


def _given_up(number: int, client_id: str | int | None) -> ItemOutcome:
    return outcome(failed(number, client_id, code=POISON, detail=POISON_DETAIL))


@dataclass(frozen=True, slots=True)
class BatchRerankHandler:
    """Runs `batch_rerank` units."""

    judging: Judging

    def open(self, unit: ClaimedUnit, job: Job) -> "_Judging":
        """Read the shortlists."""
        ctx = self.judging.ctx
        waiting = json.loads(ctx.objects.get(unit.payload["key"]))
        place = _Place(ctx, job, unit.payload["first_line"])
        return _Judging(place, self.judging, tuple(Ranked.of_json(raw) for raw in waiting))


@dataclass(frozen=True, slots=True)
class _Judging:
    place: _Place
    judging: Judging
    waiting: tuple[Ranked, ...]
    batch_items: int = JUDGED_AT_ONCE

    def compute(self, start: int, stop: int) -> "_Written":
        """Judge one line after the other."""
        finished = [self._judged(each) for each in self.waiting[start:stop]]
        return self.place.keep(written(self.place.ctx, finished))

    def _judged(self, ranked: Ranked) -> Ranked:
        still_moving()
        judged = self.judging.order(ranked.params, ranked.candidates)
        facts = {**ranked.facts, "reranked": judged.reason is None, "reason": judged.reason}
        return replace(ranked, candidates=judged.candidates, facts=facts)

    def poison(self, item: int) -> ItemOutcome | None:
        """As in stage 1."""
        return _given_up(self.waiting[item].number, self.waiting[item].client_id)


@dataclass(frozen=True, slots=True)
class _Written:
    """Stored lines, which count from now on, and the units that those still open wait for."""

    job: Job
    part: BatchPart
    outcomes: Sequence[ItemOutcome]
    units: Sequence[NewUnit]

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Name the part; a part without lines was not stored."""
        if self.part.lines:
            uow.batch_parts.add(self.job.id, self.part)
        uow.units.add(self.units)
        return self.outcomes

    def rings(self) -> Sequence[Queue]:
        """The judge's queue, if it has work."""
        return [unit.queue for unit in self.units]
