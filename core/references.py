"""References of queries that are named by a URL: fetched once, and from there on like uploaded ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.context import Context
from core.errors import ItemError, NotFoundError
from core.limits import picture_limits
from core.models import ClaimedUnit, ItemOutcome, Job, QueryParams, Queue
from core.pictures import inspect
from core.ports import Fetcher, NotModified, UnitOfWork
from core.queries import REFERENCE_MEDIA_TYPE, query_params, search_unit
from core.settings import MEBIBYTE


def _fetch_reference(ctx: Context, web: Fetcher, params: QueryParams) -> None:
    """Store what `reference_url` shows as the query's reference object. Doing it again does no harm.

    ItemError when the URL cannot be fetched (as for imports), or shows no picture within the bounds.
    """
    url, key = params.reference_url, params.reference_object_key
    if url is None or key is None:
        raise NotFoundError("This query names no URL.")
    answer = web.get(url, max_bytes=ctx.settings.max_reference_mib * MEBIBYTE)
    if isinstance(answer, NotModified):
        raise ItemError("url_failed", "The server answers without a picture; open the URL and look.")
    inspect(answer.data, picture_limits(ctx.settings))
    ctx.objects.put(key, answer.data, media_type=REFERENCE_MEDIA_TYPE)


@dataclass(frozen=True, slots=True)
class ReferenceHandler:
    """Runs `reference` units."""

    ctx: Context
    web: Fetcher

    def open(self, unit: ClaimedUnit, job: Job) -> "_Reference":
        """Nothing to load."""
        del unit
        return _Reference(self, job)


@dataclass(frozen=True, slots=True)
class _Reference:
    handler: ReferenceHandler
    job: Job

    @property
    def batch_items(self) -> int:
        """One: a query has one reference."""
        return 1

    def compute(self, start: int, stop: int) -> "_Fetched":
        """Fetch and store. What fails here, after the fetcher's own tries, fails the query: somebody waits for it."""
        del start, stop
        _fetch_reference(self.handler.ctx, self.handler.web, query_params(self.job))
        return _Fetched(self.job)

    def poison(self, item: int) -> ItemOutcome | None:  # noqa: ARG002 - the port's signature
        """Without its reference there is no query."""
        return None


@dataclass(frozen=True, slots=True)
class _Fetched:
    job: Job

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Hand on to stage 1."""
        uow.units.add([search_unit(self.job)])
        return ()

    def rings(self) -> Sequence[Queue]:
        """Stage 1."""
        return (Queue.QUERY,)
