"""The application: blueprints, errors, authentication and documents around one context."""

from functools import partial
from importlib.metadata import PackageNotFoundError, version

from apiflask import APIFlask

from api import errors, openapi, rate_limits, requests
from api.auth_cache import PrincipalCache
from api.bodies import StrictJson
from api.endpoints import (
    docs,
    duplicates,
    exports,
    feedback,
    galleries,
    health,
    images,
    imports,
    indexes,
    jobs,
    metrics,
    queries,
    query_batches,
    schedules,
    uploads,
    webhooks,
)
from api.long_poll import LongPolls
from api.metrics import Metrics
from api.rate_limits import RateLimits
from api.runtime import Runtime, attach
from core.context import Context
from core.jobs import phases

BLUEPRINTS = (
    galleries.bp,
    imports.bp,
    uploads.bp,
    images.bp,
    duplicates.bp,
    exports.bp,
    indexes.bp,
    queries.bp,
    query_batches.bp,
    schedules.bp,
    jobs.bp,
    feedback.bp,
    webhooks.bp,
    health.bp,
    docs.bp,
)


def create_app(ctx: Context) -> APIFlask:
    """The WSGI application on these ports. Two of them in one process share nothing."""
    app = APIFlask(
        __name__,
        title="SETR Service",
        version=_version(),
        docs_path=None,
        json_errors=False,
        static_folder=None,  # type: ignore[arg-type]  # Flask takes None for `none`
    )
    app.json = StrictJson(app)
    app.url_map.strict_slashes = False
    openapi.register(app, ctx.settings)
    errors.register(app)
    requests.register(app)
    polls = LongPolls(partial(phases, ctx), server_threads=ctx.settings.api_threads)
    rate_limits.register(app)
    rates = RateLimits(ctx.settings)
    attach(app, Runtime(ctx=ctx, principals=PrincipalCache(), polls=polls, metrics=Metrics(ctx), rates=rates))
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    if ctx.settings.metrics:
        app.register_blueprint(metrics.bp)
    return app


def _version() -> str:
    try:
        return version("setr-service")
    except PackageNotFoundError:
        return "0.0.0"  # run from a checkout that is not installed
