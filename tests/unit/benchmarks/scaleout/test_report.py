"""What runs by one and two hosts come to."""

import pytest

from benchmarks.scaleout.measure import Run
from benchmarks.scaleout.report import report, summary

RUNS = [
    Run(1, 10.0, {"a": 90}),
    Run(2, 5.0, {"b": 20, "c": 30}),
    Run(1, 12.0, {"d": 100}),
    Run(2, 6.0, {"e": 25, "f": 25}),
    Run(1, 11.0, {"g": 99}),
    Run(2, 5.5, {"h": 24, "i": 26}),
]


def test_medians_are_compared() -> None:
    told = summary(RUNS, 110)
    assert told["images_s"] == {"1": 10.0, "2": 20.0}
    assert (told["speed_up"], told["efficiency"], told["least_share"]) == (2.0, 1.0, 0.48)


def test_a_host_that_did_nothing_shows() -> None:
    assert Run(2, 1.0, {"a": 10}).least_share == 0.0
    assert Run(2, 1.0, {"a": 30, "b": 10}).least_share == pytest.approx(0.25)


def test_the_table() -> None:
    text = report(RUNS, images=110, command="make bench-scaleout", write=False)
    assert "| 2 | 20.0 | 2.00 | 1.00 |" in text
    assert "48 %" in text
