"""Composition root of the API process: the only place in `api` that builds adapters."""

from apiflask import APIFlask

from api.app import create_app
from core import logs
from core.context import Context, SystemClock
from core.settings import Settings, load_settings
from storage.engine import create_engine
from storage.objects import S3ObjectStore
from storage.uow import uow_factory
from workers.dispatch import CeleryDoorbell


def build_context(settings: Settings) -> Context:
    """The ports of an API process. Nothing connects yet: a service that is away becomes a 503, not a crash."""
    return Context(
        uow=uow_factory(create_engine(settings, application_name="setr-api"), settings),
        objects=S3ObjectStore(settings),
        doorbell=CeleryDoorbell(settings.redis_url),
        clock=SystemClock(),
        settings=settings,
    )


def create_wsgi_app() -> APIFlask:
    """For WSGI servers, such as `gunicorn 'api.wiring:create_wsgi_app()'`. Reads the settings, once."""
    settings = load_settings()
    logs.configure(settings, process="api")
    return create_app(build_context(settings))
