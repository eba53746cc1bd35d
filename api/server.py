"""The API server process: `python -m api.server`. Gunicorn with one process and `api_threads` threads."""

from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from api.app import create_app
from api.wiring import build_context
from core import logs
from core.settings import Settings, load_settings

GRACE_S = 15
"""Less than a supervisor's 20 s. A long-poll that is cut off is repeated by its client."""


class _Logger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's own messages go where all our logs go; we write a line a request ourselves."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn, set up by our settings instead of its command line."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """What gunicorn asks for first."""
        for name, value in gunicorn_options(self._settings).items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application; called in the worker process, so that no connection crosses a fork."""
        return create_app(build_context(self._settings))


def gunicorn_options(settings: Settings) -> dict[str, Any]:
    """One process, many threads: handlers wait for SQL far more than they compute, and long-polls just wait."""
    host = f"[{settings.api_host}]" if ":" in settings.api_host else settings.api_host
    return {
        "bind": f"{host}:{settings.api_port}",
        "worker_class": "gthread",
        "workers": 1,
        "threads": settings.api_threads,
        "timeout": 60,
        "graceful_timeout": GRACE_S,
        "keepalive": 30,
        "control_socket_disable": True,
        "accesslog": None,
        "logger_class": _Logger,
        "loglevel": settings.log_level.lower(),
    }


def main() -> None:
    """Serve until SIGTERM."""
    settings = load_settings()
    logs.configure(settings, process="api")
    Server(settings).run()


if __name__ == "__main__":
    main()
