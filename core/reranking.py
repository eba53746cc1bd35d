"""Stage 2: the judge answers Yes or No for the shortlist, and the final order follows."""

import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from uuid import UUID

import structlog
from PIL.Image import Image as Picture

from core.answering import REFERENCE_SIDE_PX, reference_picture
from core.context import Context
from core.errors import ItemError, NotFoundError, ServiceError, UnavailableError
from core.keys import blob_key
from core.models import Candidate, ClaimedUnit, Image, ItemOutcome, Job, QueryParams, Queue
from core.pictures import decode
from core.ports import Judge, UnitOfWork
from core.queries import query_params

log = structlog.get_logger()

FETCH_THREADS = 8
PICTURE_SIDE_PX = REFERENCE_SIDE_PX
_DENIES = re.compile(r"(?:no|not|without|never)\b", re.IGNORECASE)


def request_of(text: str, negative_text: str | None) -> str:
    """What the judge is asked for: the relative text, and what must not be there.

    >>> request_of("in red", "striped"), request_of("in red", "no logo")
    ('in red, but not striped', 'in red, no logo')
    """
    if negative_text is None:
        return text
    return f"{text}, {negative_text}" if _DENIES.match(negative_text) else f"{text}, but not {negative_text}"


def final_order(candidates: Sequence[Candidate], p_yes: dict[UUID, float], *, weight: float) -> tuple[Candidate, ...]:
    """Order a coarse list by the judge: w * P(Yes) + (1 - w) * coarse score min-maxed within the judged shortlist.

    Candidates in coarse order; those without P(Yes) follow in coarse order with score 0, unreadable ones last.
    Ties keep the coarse order.
    """
    judged = [candidate for candidate in candidates if candidate.image_id in p_yes]
    scores = [candidate.coarse_score for candidate in judged]
    low, high = (min(scores), max(scores)) if scores else (0.0, 0.0)

    def score(candidate: Candidate) -> float:
        coarse = (candidate.coarse_score - low) / (high - low) if high > low else 1.0
        return weight * p_yes[candidate.image_id] + (1 - weight) * coarse

    scored = [replace(candidate, p_yes=p_yes[candidate.image_id], score=score(candidate)) for candidate in judged]
    scored.sort(key=lambda candidate: (-candidate.score, candidate.coarse_rank))
    rest = [replace(candidate, score=0.0) for candidate in candidates if candidate.image_id not in p_yes]
    rest.sort(key=lambda candidate: (candidate.error is not None, candidate.coarse_rank))
    return tuple(replace(candidate, rank=rank) for rank, candidate in enumerate([*scored, *rest], start=1))


@dataclass(frozen=True, slots=True)
class Judged:
    """The final order, or the coarse one and the `reason` why no judge made it."""

    candidates: tuple[Candidate, ...]
    reason: str | None


@dataclass(frozen=True, slots=True)
class Judging:
    """Stage 2 for any query."""

    ctx: Context
    judge: Judge

    def order(self, params: QueryParams, candidates: Sequence[Candidate]) -> Judged:
        """Judge the shortlist. Whatever goes wrong with the judge leaves the coarse order, with the reason.

        UnavailableError when a dependency is away.
        """
        try:
            return Judged(self._ordered(params, candidates), None)
        except UnavailableError:
            raise
        except ServiceError as error:
            return Judged(tuple(candidates), error.detail)
        except Exception:
            log.exception("rerank.judge_failed")
            return Judged(tuple(candidates), "The judge failed; the operator's logs name the cause.")

    def _ordered(self, params: QueryParams, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        options = params.rerank
        if options is None or params.text is None:
            raise NotFoundError("This query has no re-ranking.")
        shortlist = candidates[: options.depth]
        with self.ctx.uow() as uow:
            ids = [candidate.image_id for candidate in shortlist]
            if params.reference_image_id is not None:
                ids.append(UUID(params.reference_image_id))
            images = uow.images.many(ids)
        image = images.get(UUID(params.reference_image_id)) if params.reference_image_id else None
        reference = reference_picture(self.ctx, params, image)
        pictures = self._pictures(shortlist, images)
        readable = [candidate for candidate in shortlist if isinstance(pictures[candidate.image_id], Picture)]
        request = request_of(params.text, params.negative_text)
        scores = self.judge.score(reference, request, [_picture(pictures[c.image_id]) for c in readable])
        p_yes = {candidate.image_id: float(p) for candidate, p in zip(readable, scores, strict=True)}
        noted = [replace(c, error=_reason(pictures.get(c.image_id))) for c in candidates]
        return final_order(noted, p_yes, weight=self.judge.weight)

    def _pictures(self, shortlist: Sequence[Candidate], images: dict[UUID, Image]) -> dict[UUID, Picture | str]:
        """Picture of each candidate, or the reason why it cannot be read."""

        def read(candidate: Candidate) -> Picture | str:
            image = images.get(candidate.image_id)
            if image is None:
                return "The image was deleted meanwhile."
            try:
                data = self.ctx.objects.get(blob_key(image.tenant_id, image.blob.sha256))
                return decode(data, max_side_px=PICTURE_SIDE_PX)
            except (ItemError, NotFoundError) as error:
                return error.detail

        with ThreadPoolExecutor(FETCH_THREADS) as pool:
            found = pool.map(read, shortlist)
            return {candidate.image_id: picture for candidate, picture in zip(shortlist, found, strict=True)}


@dataclass(frozen=True, slots=True)
class RerankHandler:
    """Runs `rerank` units."""

    judging: Judging

    def open(self, unit: ClaimedUnit, job: Job) -> "_Rerank":
        """Nothing to load before the judgement."""
        del unit
        return _Rerank(self.judging, job)


@dataclass(frozen=True, slots=True)
class _Rerank:
    judging: Judging
    job: Job
    batch_items: int = 1

    def compute(self, start: int, stop: int) -> "_FinalResult":
        """Judge what stage 1 left."""
        del start, stop
        began_s = time.perf_counter()
        with self.judging.ctx.uow() as uow:
            candidates = uow.candidates.list(self.job.id)
        judged = self.judging.order(query_params(self.job), candidates)
        return _FinalResult(self.job, judged, round(1000 * (time.perf_counter() - began_s)))

    def poison(self, item: int) -> ItemOutcome | None:  # noqa: ARG002 - the port's signature
        """A judgement that keeps killing workers is given up; the deadline ends the query with its coarse order."""
        return None


def _picture(found: Picture | str) -> Picture:
    if isinstance(found, str):
        raise TypeError(found)
    return found


def _reason(found: Picture | str | None) -> str | None:
    return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True)
class _FinalResult:
    job: Job
    judged: Judged
    duration_ms: int

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Store the final order; the query ends here."""
        before = self.job.result or {}
        timings = {**before.get("timings_ms", {}), "rerank": self.duration_ms}
        result = {
            **before,
            "reranked": self.judged.reason is None,
            "provisional": False,
            "reason": self.judged.reason,
            "timings_ms": timings,
        }
        uow.candidates.replace(self.job.id, self.judged.candidates)
        uow.jobs.set_result(self.job.id, result)
        return ()

    def rings(self) -> Sequence[Queue]:
        """Nothing follows."""
        return ()
