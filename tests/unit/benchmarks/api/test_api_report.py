"""Numbers of the API benchmark, by hand."""

import pytest

from benchmarks.api.batches import Batch
from benchmarks.api.measure import Latencies, Level
from benchmarks.api.report import COARSE, Measured, details, report, summary

MEASURED = Measured(
    images=3,
    submit=Latencies((0.010, 0.012, 0.020), 1.0),
    polls_open=Latencies((0.002,) * 900, 2.0),
    polls_done=Latencies((0.004,) * 100, 1.0),
    coarse=[
        Level(1, Latencies((0.01, 0.01), 1), Latencies((0.05, 0.07), 1)),
        Level(4, *[Latencies((0.1, 0.1), 1)] * 2),
    ],
    reranked=[Level(1, Latencies((0.01, 0.01), 1), Latencies((0.6, 0.8), 1))],
    batches={COARSE: Batch(1200, 24.0)},
)


def test_percentiles_and_rates() -> None:
    hundred = Latencies(tuple(n / 1000 for n in range(101)), 10.0)
    assert hundred.p50_ms == pytest.approx(50)
    assert hundred.p95_ms == pytest.approx(95)
    assert hundred.rate == pytest.approx(10.1)


def test_the_summary_is_about_one_client() -> None:
    assert summary(MEASURED) == {
        "submit_p50_ms": 12.0,
        "poll_rps": 450,
        "e2e_p50_ms_coarse": 60.0,
        "e2e_p50_ms_reranked": 700.0,
    }


def test_the_table_and_the_details_have_every_level() -> None:
    text = report(MEASURED, command="make bench-api", write=False)
    assert "| coarse | 4 |" in text
    assert "| 50 candidates judged | 1 | 700.0 |" in text
    assert [level["clients"] for level in details(MEASURED)["queries"]["coarse"]] == [1, 4]
    assert "| coarse | 1,200 | 24.0 | 50.0 |" in text
    assert details(MEASURED)["batches"]["coarse"]["per_second"] == 50.0
