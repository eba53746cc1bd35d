"""Who decides what an image is: the newest import that says anything of it, whichever ends last."""

import pytest

from core import jobs
from core.models import JobState, UnitKind
from tests.integration.core.importing import Shop, jsonl, picture

pytestmark = pytest.mark.integration

RED, GREEN, BLUE = picture("red"), picture("green"), picture("blue")


def named(*names: str, data: bytes = RED) -> dict[str, bytes]:
    return {f"{name}.png": data for name in names}


TEN = [f"sku-{number}" for number in range(10)]


def test_a_mirror_removes_what_is_not_named_any_more(shop: Shop) -> None:
    shop.imported(named(*TEN))
    job = shop.imported(named(*TEN[:9], "new"), mode="mirror")
    counters = job.counters
    assert job.state is JobState.SUCCEEDED
    assert (counters.total, counters.created, counters.unchanged, counters.deleted) == (11, 1, 9, 1)
    assert sorted(shop.contents()) == sorted(named(*TEN[:9], "new"))
    again = shop.imported(named(*TEN[:9], "new"), mode="mirror").counters
    assert (again.total, again.unchanged) == (10, 10)


def test_the_guard_stops_a_mirror_that_would_remove_too_much(shop: Shop) -> None:
    shop.imported(named(*TEN))
    job = shop.imported(named(*TEN[:7], "new"), mode="mirror")
    counters = job.counters
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error["code"] == "mirror_guard"
    assert "3 of 10" in job.error["detail"]
    assert (counters.created, counters.unchanged, counters.deleted, counters.canceled) == (1, 7, 0, 3)
    assert len(shop.contents()) == 11
    allowed = shop.imported(named(*TEN[:7], "new"), mode="mirror", share=0.3)
    assert (allowed.state, allowed.counters.deleted) == (JobState.SUCCEEDED, 3)
    assert len(shop.contents()) == 8


def test_new_images_do_not_make_room_for_removals(shop: Shop) -> None:
    shop.imported(named(*TEN))
    job = shop.imported(named(*(f"other-{number}" for number in range(50))), mode="mirror")
    assert job.error is not None
    assert job.error["code"] == "mirror_guard"
    assert len(shop.contents()) == 60


def test_a_mirror_of_nothing_is_stopped_however_large_its_share(shop: Shop) -> None:
    shop.imported(named(*TEN))
    job = shop.imported({"m.csv": b"external_id,image\n"}, mode="mirror", share=1.0)
    assert job.error is not None
    assert (job.state, job.error["code"]) == (JobState.FAILED, "mirror_guard")
    assert len(shop.contents()) == 10


def test_images_that_are_named_but_failed_stay(shop: Shop) -> None:
    shop.imported(named(*TEN))
    broken = {**named(*TEN[:8]), "sku-8.png": b"no picture", "sku-9.png": RED[:40]}
    job = shop.imported(broken, mode="mirror")
    assert (job.state, job.counters.failed, job.counters.deleted) == (JobState.PARTIALLY_SUCCEEDED, 2, 0)
    assert len(shop.contents()) == 10


def test_a_row_that_cannot_be_read_keeps_the_mirror_from_removing(shop: Shop) -> None:
    shop.imported({"m.jsonl": jsonl(*({"external_id": name, "image": "a.png"} for name in TEN)), "a.png": RED})
    rows = jsonl(*({"external_id": name, "image": "a.png"} for name in TEN[:9])) + b'{"external_id": "sku-9", \n'
    job = shop.imported({"m.jsonl": rows, "a.png": RED}, mode="mirror")
    assert job.error is not None
    assert (job.state, job.error["code"]) == (JobState.FAILED, "mirror_guard")
    assert (job.counters.unchanged, job.counters.failed) == (9, 1)
    assert len(shop.contents()) == 10


def test_a_cancelled_mirror_removes_nothing(shop: Shop) -> None:
    shop.imported(named(*TEN))
    job_id = shop.mirror(named(*TEN[:9]))
    shop.run_one()
    shop.run_one()
    jobs.cancel(shop.ctx, shop.principal, job_id)
    job = shop.ended(job_id)
    assert (job.state, job.counters.deleted) == (JobState.CANCELED, 0)
    assert len(shop.contents()) == 10


def test_a_mirror_spares_what_a_newer_import_has_written(shop: Shop) -> None:
    shop.imported(named(*TEN))
    mirror = shop.mirror(named(*TEN[:8]))
    shop.run_one()
    shop.hold(mirror)
    newer = shop.imported(named("sku-8", data=GREEN))
    assert newer.counters.updated == 1
    shop.let_go(mirror)
    counters = shop.ended(mirror).counters
    assert (counters.total, counters.unchanged, counters.deleted) == (10, 9, 1)
    assert shop.contents()["sku-8.png"] == GREEN
    assert "sku-9.png" not in shop.contents()


def test_a_mirror_waits_for_older_imports_and_removes_what_they_brought(shop: Shop) -> None:
    shop.imported(named(*TEN))
    older = shop.submit(named("late"))
    shop.run_one()
    shop.hold(older)
    mirror = shop.mirror(named(*TEN))
    shop.run()
    assert shop.job(mirror).state is JobState.RUNNING
    shop.let_go(older)
    assert shop.ended(older).counters.created == 1
    shop.let_go(mirror)
    counters = shop.ended(mirror).counters
    assert (counters.total, counters.unchanged, counters.deleted) == (11, 10, 1)
    assert sorted(shop.contents()) == sorted(named(*TEN))


@pytest.mark.parametrize("kind", [UnitKind.PLAN, UnitKind.FETCH, UnitKind.EMBED])
@pytest.mark.parametrize("stored", [None, RED, BLUE])
def test_an_older_import_never_overwrites_a_newer_one(shop: Shop, kind: UnitKind, stored: bytes | None) -> None:
    """The older one sends red, the newer one blue; the older one is held before each of its steps."""
    if stored is not None:
        shop.imported(named("sku", data=stored))
    older = shop.submit(named("sku", data=RED))
    while kind is not UnitKind.PLAN and kind not in open_kinds(shop):
        if not shop.run_one():
            break
    shop.hold(older)
    newer = shop.imported(named("sku", data=BLUE))
    assert newer.counters.failed == 0
    shop.let_go(older)
    job = shop.ended(older)
    assert shop.contents() == {"sku.png": BLUE}
    if job.counters.created == 0 and stored is not RED:
        assert shop.items(older) == {"sku.png": ("unchanged", "superseded")}


def open_kinds(shop: Shop) -> frozenset[str]:
    from sqlalchemy import text

    with shop.engine.connect() as connection:
        return frozenset(connection.execute(text("SELECT kind FROM work_units WHERE state = 'pending'")).scalars())


def test_rows_may_ask_for_removal(shop: Shop) -> None:
    shop.imported(named("a", "b", "c"))
    rows = jsonl(
        {"external_id": "a.png", "operation": "delete"},
        {"external_id": "nowhere", "operation": "delete"},
        {"external_id": "d", "image": "d.png"},
    )
    job = shop.imported({"m.jsonl": rows, "d.png": GREEN})
    counters = job.counters
    assert (job.state, counters.total) == (JobState.SUCCEEDED, 3)
    assert (counters.created, counters.deleted, counters.unchanged) == (1, 1, 1)
    assert shop.items(job.id) == {"nowhere": ("unchanged", "not_found")}
    assert sorted(shop.contents()) == ["b.png", "c.png", "d"]


def test_a_mirror_counts_rows_that_ask_for_removal_once(shop: Shop) -> None:
    shop.imported(named(*TEN))
    rows = [{"external_id": f"{name}.png", "image": "a.png"} for name in TEN[:8]]
    gone = [{"external_id": f"{TEN[8]}.png", "operation": "delete"}]
    job = shop.imported({"m.jsonl": jsonl(*rows, *gone), "a.png": RED}, mode="mirror")
    assert (job.counters.total, job.counters.unchanged, job.counters.deleted) == (10, 8, 2)
    assert len(shop.contents()) == 8


def test_a_removal_never_undoes_a_newer_import(shop: Shop) -> None:
    shop.imported(named("a"))
    older = shop.submit({"m.jsonl": jsonl({"external_id": "a.png", "operation": "delete"})})
    shop.hold(older)
    shop.imported(named("a", data=GREEN))
    shop.let_go(older)
    job = shop.ended(older)
    assert shop.items(older) == {"a.png": ("unchanged", "superseded")}
    assert job.counters.unchanged == 1
    assert shop.contents() == {"a.png": GREEN}


def test_an_older_import_never_brings_back_what_a_newer_one_removed(shop: Shop) -> None:
    older = shop.submit(named("a"))
    shop.run_one()
    shop.hold(older)
    newer = shop.submit({"m.jsonl": jsonl({"external_id": "a.png", "operation": "delete"})})
    shop.run()
    assert shop.job(newer).state is JobState.RUNNING
    shop.let_go(older)
    shop.run()
    shop.let_go(newer)
    assert shop.ended(newer).counters.deleted == 1
    assert shop.contents() == {}
