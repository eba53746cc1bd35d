"""The deal of faults: what was promised of it, and the same for the same seed."""

from collections import Counter

from benchmarks.faults.plan import RUNS, Kind, strikes

ALL = [strikes(seed) for seed in range(RUNS)]


def test_every_kind_comes_at_least_eight_times_and_the_pause_of_s3_five() -> None:
    dealt = Counter(strike.kind for pair in ALL for strike in pair)
    assert dealt.total() == 2 * RUNS
    assert {kind: count for kind, count in dealt.items() if count < 8} == {Kind.PAUSE_S3: 5}
    assert set(dealt) == set(Kind)


def test_two_faults_of_a_run_are_of_different_kinds_and_in_order() -> None:
    assert all(first.kind is not second.kind for first, second in ALL)
    assert all(first.mid_upload or first.moment <= second.moment for first, second in ALL)


def test_the_same_seed_is_the_same_run() -> None:
    assert ALL[7] == strikes(7)
    assert len({pair[0].moment for pair in ALL}) > RUNS // 2


def test_each_worker_is_hit_by_some_run() -> None:
    hit = {name for pair in ALL for strike in pair for name in strike.targets}
    workers = {"worker-ingest", "worker-embed", "worker-query", "worker-rerank", "worker-maintenance"}
    assert hit >= {*workers, "worker-reconcile", "beat", "api", "redis", "postgres", "s3"}
    assert any(strike.mid_upload for pair in ALL for strike in pair)
