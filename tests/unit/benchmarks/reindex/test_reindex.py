"""The truth of the re-index benchmark, the changes that it makes, and what its numbers say."""

import json
import zipfile
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from threading import Event

import pytest

from benchmarks.reindex.load import Changes, Photos, Rates, Tally, archive_of
from benchmarks.reindex.lookout import Lookout
from benchmarks.reindex.measure import Outcome, Plan
from benchmarks.reindex.report import is_clean, report, summary
from benchmarks.reindex.truth import Seen, Truth


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    path = tmp_path / "catalog.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(200):
            archive.writestr(f"images/000/{number:06d}.jpg", f"photo {number}")
    return Photos(path, 200)


def test_until_a_change_is_done_old_and_new_are_right() -> None:
    truth = Truth()
    truth.done({"a": "1"})
    truth.asked({"a": "2", "b": "3"})
    assert truth.now() == {"a": {"1", "2"}, "b": {None, "3"}}
    truth.done({"a": "2"})
    truth.asked({"a": None})
    assert truth.now() == {"a": {"2", None}, "b": {None, "3"}}


def test_changes_never_touch_what_is_under_way_nor_bring_the_same_picture(photos: Photos) -> None:
    changes = Changes(photos)
    first, second = changes.next(60), changes.next(60)
    assert len(first) == len(second) == 60
    assert not set(first) & set(second)
    renewed = {name: number for name, number in first.items() if name.startswith("sku-")}
    assert all(number != int(name.removeprefix("sku-")) for name, number in renewed.items())
    changes.settled(first)
    changes.settled(second)
    third = changes.next(60)
    gone = [name for name, number in third.items() if number is None]
    assert gone
    assert set(gone) <= set(first) | set(second)


def test_an_archive_says_what_its_changes_come_to(photos: Photos) -> None:
    data, contents = archive_of({"sku-000001": 98, "new-000020": None}, photos)
    assert contents == {"sku-000001": sha256(b"photo 98").hexdigest(), "new-000020": None}
    with zipfile.ZipFile(BytesIO(data)) as archive:
        rows = [json.loads(line) for line in archive.read("changes.jsonl").splitlines()]
        assert archive.read(rows[0]["image"]) == b"photo 98"
    assert rows[1] == {"external_id": "new-000020", "operation": "delete"}


def outcome(*, stale: int = 0, killed: bool = True, switched: bool = True) -> Outcome:
    job = {
        "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:01:30Z",
        "result": {"index_id": "new", "self_check": {"recall": 1.0}},
    }
    last = {"active": Seen("old", 0, 0), "standby": Seen("new", 0, stale)}
    looks = [Seen("old", 0, 0)] * 60 + [Seen("new", 0, 0)] * 30
    tally = Tally(queries=450, upserts=1800, answered_by={"old": 400} | ({"new": 50} if switched else {}))
    return Outcome(job, tally, looks, [0.1] * 89 + [0.25], last, killed, 0.0123)


def test_a_lookout_looks_until_it_is_left_and_says_what_went_wrong() -> None:
    enough = Event()

    def look() -> Seen:
        if len(lookout.looks) == 4:
            enough.set()
        return Seen("old", 0, 0)

    lookout = Lookout(look, every_s=0.001)
    with lookout:
        assert enough.wait(timeout=10)
    assert len(lookout.looks) == len(lookout.took_s) >= 5

    def fail() -> Seen:
        enough.set()
        raise ConnectionError("Postgres is away")

    enough.clear()
    with pytest.raises(ConnectionError, match="away"), Lookout(fail, every_s=0.001):
        assert enough.wait(timeout=10)


def test_the_summary_counts_what_was_missing_or_stale_anywhere(tmp_path: Path) -> None:
    plan = Plan(20_000, tmp_path, "demo", "second", Rates())
    assert summary(plan, outcome(stale=2)) == {
        "images": 20_000,
        "build_seconds": 90.0,
        "queries": 450,
        "failed_queries": 0,
        "missing": 0,
        "stale": 2,
        "upserts": 1800,
        "recall_selfcheck": 1.0,
        "rollback_seconds": 0.012,
    }
    assert is_clean(plan, outcome())
    assert not is_clean(plan, outcome(stale=2))
    assert not is_clean(plan, outcome(killed=False))
    assert not is_clean(plan, outcome(switched=False))
    text = report(plan, outcome(), command="make bench-reindex", write=False)
    assert "| rollback | 12 ms |" in text
    assert "| a look, median, longest | 0.10 s, 0.25 s |" in text
