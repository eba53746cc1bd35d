"""Keeping the service alive while we are its client: the supervisor restarts dead children only when it is asked."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")

_PERIOD_S = 0.5


def tended(work: Callable[[], T], *, poll: Callable[[], None]) -> T:
    """The result of `work`, which runs in a thread while this one calls `poll` twice a second.

    Call it in the main thread: children die with the thread that started them. Errors of both pass through.
    """
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        future = pool.submit(work)
        while wait([future], timeout=_PERIOD_S).not_done:
            poll()
        return future.result()
    finally:
        pool.shutdown(wait=False)
