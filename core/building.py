"""When the search structure of a large generation is built: once, and not while an import would have to feed it.

An insert into HNSW takes longer than many an encoder, and building it in bulk takes less. See docs/adr/0022.
"""

from collections.abc import Callable
from uuid import UUID

import structlog

from core.context import Context
from core.errors import UnavailableError
from core.models import IndexState, UnitKind
from core.ports import UnitOfWork, VectorBuilder

log = structlog.get_logger()

FEEDING = frozenset({UnitKind.FETCH, UnitKind.EMBED, UnitKind.REEMBED})
WAIT_FOR_SHARE = 0.05
"""A generation waits while more than this share of its vectors is still to come…"""
UNBEARABLE = 10
"""… unless it is searched, and this many times too large for exact search."""


def build_due(ctx: Context, builder: VectorBuilder, *, stopping: Callable[[], bool] = lambda: False) -> int:
    """Build for every generation that is due, one after the other. Returns how many were built.

    May be killed at any point, and may run twice at once. When a dependency is away, the next round does it.
    """
    built = 0
    try:
        with ctx.uow() as uow:
            grown = uow.vectors.outgrown().items()
            due = [index_id for index_id, vectors in grown if _is_due(ctx, uow, index_id, vectors)]
        for index_id in due:
            log.info("build.begun", index_id=str(index_id))
            done = not stopping() and builder.build(index_id, stopping=stopping)
            log.info("build.ended", index_id=str(index_id), done=done)
            built += done
    except UnavailableError as error:
        log.warning("build.put_off", reason=error.detail)
    return built


def _is_due(ctx: Context, uow: UnitOfWork, index_id: UUID, vectors: int) -> bool:
    index = uow.indexes.get(index_id)
    if index is None or index.state is IndexState.DROPPED or not index.in_step:  # the bulk of it is still to come
        return False
    if index.state is IndexState.ACTIVE and vectors > UNBEARABLE * ctx.settings.exact_search_below:
        return True
    return uow.units.items_to_come(index.gallery_id, FEEDING) <= WAIT_FOR_SHARE * vectors
