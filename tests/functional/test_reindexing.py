"""A re-index while queries and imports go on, its worker killed half-way, and back: the short `make bench-reindex`."""

import pytest

from benchmarks.faults.watch import Sql
from benchmarks.pictures import catalog
from benchmarks.reindex.load import Rates
from benchmarks.reindex.measure import Plan, Trial
from benchmarks.reindex.report import is_clean, summary
from tests.functional.conftest import Service

pytestmark = pytest.mark.functional
IMAGES = 120


def test_a_reindex_under_load_and_back_misses_nothing(service: Service) -> None:
    plan = Plan(IMAGES, catalog(IMAGES), "demo", "narrow", Rates(upserts=10, queries=2), settle_s=2.0, kill_at=0.2)
    with Sql(service.stack.settings.database_url) as sql:
        outcome = Trial(service.stack, service.http, sql, plan).run()
    tally = outcome.tally
    assert is_clean(plan, outcome), (summary(plan, outcome), outcome.last, tally.failures, tally.failed_upserts)
    assert tally.queries > 0
    assert tally.upserts > 0
