"""What each kind of fault does to a running stack."""

import shutil
import signal
from collections.abc import Callable

import redis

from benchmarks.faults.plan import Kind, Strike
from cli.local.up import Stack


def inflict(stack: Stack, strike: Strike, *, rest: Callable[[float], None]) -> None:
    """Do it; returns when the fault is over. What was killed may still be starting again: that is part of recovery.

    `rest(seconds)` lets time pass while the supervisor goes on.
    """
    supervisor = stack.supervisor
    match strike.kind:
        case Kind.FLUSH_REDIS:
            with redis.Redis.from_url(stack.settings.redis_url) as client:
                client.flushall()
        case Kind.EMPTY_REDIS:
            _restart_redis_empty(stack)
        case Kind.PAUSE_S3:
            supervisor.signal("s3", signal.SIGSTOP)
            try:
                rest(strike.pause_s)
            finally:
                supervisor.signal("s3", signal.SIGCONT)
        case Kind.RESTART_POSTGRES:
            supervisor.halt("postgres")
            supervisor.resume("postgres")
        case Kind.RESTART_API:
            supervisor.kill("api")
            supervisor.resume("api")
        case Kind.STOP_WORKERS:
            for name in strike.targets:
                supervisor.halt(name)
                supervisor.resume(name)
        case _:
            for name in strike.targets:
                supervisor.kill(name)


def _restart_redis_empty(stack: Stack) -> None:
    stack.supervisor.kill("redis")
    for left in (stack.settings.data_dir / "redis").glob("appendonlydir*"):
        shutil.rmtree(left)
    for left in (stack.settings.data_dir / "redis").glob("*.aof"):
        left.unlink()
    stack.supervisor.resume("redis")
