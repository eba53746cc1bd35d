"""The composition root of worker processes: builds adapters, and models only where a queue needs them."""

from collections.abc import Iterable, Mapping

from core.answering import Method
from core.batchfiles import BatchResultHandler
from core.batching import BatchRerankHandler, BatchSearchHandler
from core.context import Context, SystemClock
from core.deletion import DeleteGalleryHandler
from core.durable import Handler
from core.embedder import Embedder
from core.embedding import EmbedHandler
from core.ingest import FetchHandler
from core.mirror import SweepHandler
from core.models import Queue, UnitKind
from core.planning import PlanHandler
from core.ports import Captioner, Fetcher
from core.reading import Remotes
from core.references import ReferenceHandler
from core.reindexing import ReembedHandler, ReindexHandler
from core.reranking import Judging, RerankHandler
from core.search import SearchHandler
from core.settings import Settings
from core.space import Spaces
from core.verification import VerifyHandler
from retrieval.specs import parse_remote_judge_spec
from storage.buckets import S3SourceBuckets
from storage.engine import create_engine
from storage.objects import S3ObjectStore
from storage.uow import uow_factory
from storage.vector_builds import SqlVectorBuilder
from storage.web.fetcher import HttpFetcher
from workers.app import Adapters
from workers.dispatch import CeleryDoorbell

EMBED_QUEUES = frozenset({Queue.EMBED, Queue.EMBED_GPU})
COMPUTE_QUEUES = EMBED_QUEUES | {Queue.QUERY, Queue.RERANK}


def build_context(settings: Settings) -> Context:
    """The ports of a worker process."""
    objects = S3ObjectStore(settings)
    objects.ensure_bucket()
    return Context(
        uow=uow_factory(create_engine(settings), settings),
        objects=objects,
        doorbell=CeleryDoorbell(settings.redis_url),
        clock=SystemClock(),
        settings=settings,
    )


def build_fetcher(settings: Settings) -> Fetcher:
    """HTTP to addresses that clients named; nothing is connected yet."""
    return HttpFetcher(settings)


def build_adapters(settings: Settings) -> Adapters:
    """What periodic tasks need; nothing is connected yet."""
    engine = create_engine(settings, application_name="setr-build")
    return Adapters(fetcher=build_fetcher(settings), builder=SqlVectorBuilder(engine, settings))


def build_handlers(ctx: Context, queues: Iterable[Queue]) -> Mapping[UnitKind, Handler]:
    """Handlers of the units that these queues carry. Models load here, so that a started worker is a warm one.

    torch is imported only for queues that compute here; ingest and maintenance processes stay small, and so do rerank
    processes with a judge elsewhere.
    """
    wanted = frozenset(queues)
    handlers: dict[UnitKind, Handler] = {}
    if Queue.INGEST in wanted:
        remotes = Remotes(web=build_fetcher(ctx.settings), buckets=S3SourceBuckets(ctx.settings))
        handlers[UnitKind.PLAN] = PlanHandler(ctx, remotes)
        handlers[UnitKind.FETCH] = FetchHandler(ctx, remotes)
        handlers[UnitKind.SWEEP] = SweepHandler(ctx)
    if Queue.MAINTENANCE in wanted:
        from core.exporting import ExportHandler  # pyarrow: only where files are written

        handlers[UnitKind.DELETE_GALLERY] = DeleteGalleryHandler(ctx)
        handlers[UnitKind.REINDEX] = ReindexHandler(ctx)
        handlers[UnitKind.EXPORT] = ExportHandler(ctx)
        handlers[UnitKind.BATCH_RESULT] = BatchResultHandler(ctx)
        handlers[UnitKind.REFERENCE] = ReferenceHandler(ctx, build_fetcher(ctx.settings))
    if _computing(wanted, ctx.settings):
        from retrieval.devices import limit_threads

        limit_threads(ctx.settings)
    if wanted & EMBED_QUEUES or Queue.QUERY in wanted:
        handlers |= _encoding_handlers(ctx, wanted)
    if Queue.RERANK in wanted:
        judging = _judging(ctx)
        handlers[UnitKind.RERANK] = RerankHandler(judging)
        handlers[UnitKind.BATCH_RERANK] = BatchRerankHandler(judging)
    return handlers


def _computing(wanted: frozenset[Queue], settings: Settings) -> frozenset[Queue]:
    """Queues whose models run in this process."""
    elsewhere = {Queue.RERANK} if parse_remote_judge_spec(settings.reranker) else set()
    return (wanted & COMPUTE_QUEUES) - elsewhere


def _encoding_handlers(ctx: Context, wanted: frozenset[Queue]) -> dict[UnitKind, Handler]:
    from retrieval.compose import StrategyComposer
    from retrieval.encoders import EncoderRegistry

    encoders, composer = EncoderRegistry(ctx.settings), StrategyComposer()
    encoders.warm_up(ctx.settings.default_encoder)
    handlers: dict[UnitKind, Handler] = {}
    if wanted & EMBED_QUEUES:
        embedder = Embedder(ctx)
        handlers[UnitKind.EMBED] = EmbedHandler(ctx, encoders, embedder)
        handlers[UnitKind.REEMBED] = ReembedHandler(ctx, encoders, embedder)
        handlers[UnitKind.VERIFY] = VerifyHandler(ctx, encoders, embedder, composer)
    if Queue.QUERY in wanted:
        method = Method(ctx, encoders, composer, Spaces(ctx, composer), _captioner(ctx))
        handlers[UnitKind.SEARCH] = SearchHandler(method)
        handlers[UnitKind.BATCH_SEARCH] = BatchSearchHandler(method)
    return handlers


def _captioner(ctx: Context) -> Captioner | None:
    if not ctx.settings.captioner:
        return None
    from retrieval.caption import build_captioner

    return build_captioner(ctx.settings)


def _judging(ctx: Context) -> Judging:
    from retrieval.judges import load_judge

    return Judging(ctx, load_judge(ctx.settings))
