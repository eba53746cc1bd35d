"""Which faults hit which run, and when: the same for the same seed."""

import random
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is done to the running service."""

    KILL_INGEST = "kill_ingest"
    KILL_EMBED = "kill_embed"
    KILL_QUERY = "kill_query"
    KILL_KEEPER = "kill_keeper"
    KILL_BEAT = "kill_beat"
    STOP_WORKERS = "stop_workers"
    RESTART_API = "restart_api"
    FLUSH_REDIS = "flush_redis"
    EMPTY_REDIS = "empty_redis"
    RESTART_POSTGRES = "restart_postgres"
    PAUSE_S3 = "pause_s3"


DESCRIPTIONS = {
    Kind.KILL_INGEST: "`kill -9` of the ingest worker",
    Kind.KILL_EMBED: "`kill -9` of the embed worker",
    Kind.KILL_QUERY: "`kill -9` of the query or re-rank worker, with queries in flight",
    Kind.KILL_KEEPER: "`kill -9` of the maintenance worker or the reconciler",
    Kind.KILL_BEAT: "`kill -9` of the scheduler",
    Kind.STOP_WORKERS: "SIGTERM of the ingest worker, the embed worker, or both; started again",
    Kind.RESTART_API: "`kill -9` of the API, mid-upload or mid-job; started again",
    Kind.FLUSH_REDIS: "Redis flushed",
    Kind.EMPTY_REDIS: "Redis killed, restarted empty",
    Kind.RESTART_POSTGRES: "Postgres restarted (fast shutdown)",
    Kind.PAUSE_S3: "S3 stopped answering for 30 s",
}

RUNS = 50
DECK = {
    Kind.KILL_INGEST: 12,
    Kind.KILL_EMBED: 12,
    Kind.STOP_WORKERS: 13,
    Kind.RESTART_POSTGRES: 9,
    Kind.RESTART_API: 9,
    Kind.KILL_QUERY: 8,
    Kind.KILL_KEEPER: 8,
    Kind.KILL_BEAT: 8,
    Kind.FLUSH_REDIS: 8,
    Kind.EMPTY_REDIS: 8,
    Kind.PAUSE_S3: 5,
}
"""How often each kind is dealt in `RUNS` runs of two faults."""

_TARGETS: dict[Kind, tuple[tuple[str, ...], ...]] = {
    Kind.KILL_INGEST: (("worker-ingest",),),
    Kind.KILL_EMBED: (("worker-embed",),),
    Kind.KILL_QUERY: (("worker-query",), ("worker-rerank",)),
    Kind.KILL_KEEPER: (("worker-maintenance",), ("worker-reconcile",)),
    Kind.KILL_BEAT: (("beat",),),
    Kind.STOP_WORKERS: (("worker-ingest",), ("worker-embed",), ("worker-ingest", "worker-embed")),
    Kind.RESTART_API: (("api",),),
    Kind.FLUSH_REDIS: (("redis",),),
    Kind.EMPTY_REDIS: (("redis",),),
    Kind.RESTART_POSTGRES: (("postgres",),),
    Kind.PAUSE_S3: (("s3",),),
}
_EARLIEST = -0.05
_LATEST = 0.9
_JITTER_S = 0.4
_MID_UPLOAD_SHARE = 1 / 3


@dataclass(frozen=True)
class Strike:
    """One fault: its kind, the processes that it hits, and its moment.

    `moment` is a share of the work of the stage that the fault hits (0..0.9; 0 is before it is planned), `jitter_s`
    the seconds after that, so that it does not always fall just behind a commit. `mid_upload` hits the API while it
    receives the import. `pause_s` is how long S3 is silent.
    """

    kind: Kind
    targets: tuple[str, ...]
    moment: float = 0.3
    jitter_s: float = 0.0
    mid_upload: bool = False
    pause_s: float = 30.0


def strikes(seed: int) -> tuple[Strike, ...]:
    """The two faults of a run, of different kinds, in the order of their moments."""
    first, second = _dealt(seed // RUNS)[seed % RUNS]
    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
    both = [_strike(kind, rng) for kind in (first, second)]
    return tuple(sorted(both, key=lambda strike: (not strike.mid_upload, strike.moment)))


def _strike(kind: Kind, rng: random.Random) -> Strike:
    return Strike(
        kind=kind,
        targets=rng.choice(_TARGETS[kind]),
        moment=max(0.0, rng.uniform(_EARLIEST, _LATEST)),
        jitter_s=rng.uniform(0, _JITTER_S),
        mid_upload=kind is Kind.RESTART_API and rng.random() < _MID_UPLOAD_SHARE,
    )


def _dealt(deal: int) -> list[tuple[Kind, Kind]]:
    """The whole deck in pairs, none of them twice the same kind."""
    rng = random.Random(f"deal {deal}")  # noqa: S311
    cards = [kind for kind, count in DECK.items() for _ in range(count)]
    while True:
        rng.shuffle(cards)
        pairs = list(zip(cards[::2], cards[1::2], strict=True))
        twins = [number for number, (one, other) in enumerate(pairs) if one is other]
        for number in twins:
            swap = rng.randrange(RUNS)
            (one, other), (third, fourth) = pairs[number], pairs[swap]
            pairs[number], pairs[swap] = (one, fourth), (third, other)
        if all(one is not other for one, other in pairs):
            return pairs
