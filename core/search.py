"""Stage 1 of a single query: answer it, publish the coarse order, and hand on to the judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from core import generations
from core.answering import Answer, Answering, Method
from core.context import Context
from core.errors import ServiceError
from core.ids import new_id
from core.models import (
    ClaimedUnit,
    ItemOutcome,
    Job,
    NewUnit,
    Queue,
    RerankOptions,
    UnitKind,
)
from core.ports import UnitOfWork
from core.queries import query_params


def result_facts(answer: Answer, *, provisional: bool = False) -> dict[str, Any]:
    """What a query's result says besides its rows, before any judge."""
    return {
        "reranked": False,
        "provisional": provisional,
        "reason": None,
        "strategy": answer.strategy,
        "index_id": str(answer.index_id),
        "timings_ms": answer.timings_ms,
        "explanation": answer.explanation,
    }


@dataclass(frozen=True, slots=True)
class SearchHandler:
    """Runs `search` units."""

    method: Method

    def open(self, unit: ClaimedUnit, job: Job) -> "_Search":
        """Resolve gallery, generation and encoder. EncoderMismatchError when vectors of two models would meet."""
        del unit
        ctx = self.method.ctx
        with ctx.uow() as uow:
            gallery, index = generations.active(uow, job)
        return _Search(ctx, job, self.method.on(gallery, index))


@dataclass(frozen=True, slots=True)
class _Search:
    ctx: Context
    job: Job
    answering: Answering
    batch_items: int = 1

    def compute(self, start: int, stop: int) -> "_CoarseResult":
        """The answer of stage 1. What is wrong with the query ends its job."""
        del start, stop
        (answered,) = self.answering.answer([query_params(self.job)])
        if isinstance(answered, ServiceError):
            raise answered
        return _CoarseResult(self.ctx, self.job, answered)

    def poison(self, item: int) -> ItemOutcome | None:  # noqa: ARG002 - the port's signature
        """A query is one step: without it there is no result."""
        return None


@dataclass(frozen=True, slots=True)
class _CoarseResult:
    """Publishes the coarse order; with re-ranking on, as a provisional result and a unit for the judge."""

    ctx: Context
    job: Job
    answer: Answer

    @property
    def _rerank(self) -> RerankOptions | None:
        return query_params(self.job).rerank if self.answer.candidates else None

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Store candidates and result, and hand on to the judge."""
        options = self._rerank
        uow.candidates.replace(self.job.id, self.answer.candidates)
        facts = result_facts(self.answer, provisional=options is not None)
        uow.jobs.set_result(self.job.id, facts, warnings=self.answer.warnings)
        if options is not None:
            uow.jobs.set_deadline(self.job.id, self.ctx.clock.now() + timedelta(seconds=options.budget_s))
            uow.units.add([_rerank_unit(self.job)])
        return ()

    def rings(self) -> Sequence[Queue]:
        """The judge's queue, if it has work."""
        return (Queue.RERANK,) if self._rerank is not None else ()


def _rerank_unit(job: Job) -> NewUnit:
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.RERANK,
        queue=Queue.RERANK,
        size=1,
        payload={},
    )
