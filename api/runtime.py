"""What handlers need besides the request. Held by the application, so that nothing is global."""

from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app

from api.auth_cache import PrincipalCache
from api.long_poll import LongPolls
from api.metrics import Metrics
from api.rate_limits import RateLimits
from core.context import Context

_EXTENSION = "setr"


@dataclass(frozen=True, slots=True)
class Runtime:
    """The ports and the process's own small state."""

    ctx: Context
    principals: PrincipalCache
    polls: LongPolls
    metrics: Metrics
    rates: RateLimits


def attach(app: Flask, runtime: Runtime) -> None:
    """Give the application its runtime."""
    app.extensions[_EXTENSION] = runtime


def runtime() -> Runtime:
    """The present application's runtime."""
    return cast("Runtime", current_app.extensions[_EXTENSION])


def context() -> Context:
    """The ports of the present application."""
    return runtime().ctx
