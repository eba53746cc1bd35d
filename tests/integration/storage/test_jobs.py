from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from core.errors import InvalidInputError
from core.ids import new_id
from core.models import Candidate, Counters, ItemOutcome, Job, JobKind, JobStage, JobState, Outcome, Page
from core.ports import JobQuery, UnitOfWorkFactory
from tests.integration.storage.builders import NOW, add_job, add_tenant, job

pytestmark = pytest.mark.integration

ANY = JobQuery()


def read(uow_factory: UnitOfWorkFactory, made: Job) -> Job:
    with uow_factory() as uow:
        found = uow.jobs.get(made.tenant_id, made.id)
    assert found is not None
    return found


def test_a_job_is_read_as_it_was_added(uow_factory: UnitOfWorkFactory) -> None:
    tenant_id = add_tenant(uow_factory)
    made = add_job(
        uow_factory,
        tenant_id,
        kind=JobKind.QUERY,
        gallery_id=new_id(),
        gallery_name="summer",
        params={"text": "röd"},
        warnings=("text cut",),
        deadline_at=NOW,
        counters=Counters(total=3, created=1),
        result={"results": []},
        error={"code": "x"},
    )
    assert read(uow_factory, made) == made
    with uow_factory() as uow:
        assert uow.jobs.lock(made.id) == made
        assert uow.jobs.lock(new_id()) is None


def test_another_tenants_job_does_not_exist(uow_factory: UnitOfWorkFactory) -> None:
    made = add_job(uow_factory, add_tenant(uow_factory, "mine"))
    other = add_tenant(uow_factory, "theirs")
    with uow_factory() as uow:
        assert uow.jobs.get(other, made.id) is None
        assert uow.jobs.page(other, ANY, size=10, after=None) == Page(items=(), next_key=None)


def test_phases_of_many_jobs(uow_factory: UnitOfWorkFactory) -> None:
    tenant_id = add_tenant(uow_factory)
    moving = add_job(uow_factory, tenant_id, state=JobState.RUNNING, stage=JobStage.EMBEDDING)
    other = add_job(uow_factory, add_tenant(uow_factory, "theirs"))
    with uow_factory() as uow:
        phases = uow.jobs.phases([moving.id, other.id, new_id()])
    assert phases == {moving.id: (JobState.RUNNING, JobStage.EMBEDDING), other.id: other.phase}


def test_what_is_not_committed_is_rolled_back(uow_factory: UnitOfWorkFactory) -> None:
    tenant_id = add_tenant(uow_factory)
    made = job(tenant_id)
    with uow_factory() as uow:
        uow.jobs.add(made)
    with uow_factory() as uow:
        assert uow.jobs.get(tenant_id, made.id) is None


def test_every_write_bumps_the_version(uow_factory: UnitOfWorkFactory) -> None:
    made = add_job(uow_factory, add_tenant(uow_factory))
    with uow_factory() as uow:
        uow.jobs.start(made.id)
        uow.jobs.set_stage(made.id, JobStage.FETCHING)
        uow.jobs.set_total(made.id, 5)
        uow.jobs.count(made.id, {Outcome.CREATED: 2, Outcome.FAILED: 1})
        uow.jobs.set_result(made.id, {"a": 1}, warnings=("first",))
        uow.jobs.set_result(made.id, {"b": 2}, warnings=("second",))
        uow.jobs.set_deadline(made.id, NOW)
        uow.commit()
    found = read(uow_factory, made)
    assert found.version == made.version + 7
    assert (found.state, found.stage) == (JobState.RUNNING, JobStage.FETCHING)
    assert found.counters == Counters(total=5, created=2, failed=1)
    assert (found.result, found.warnings, found.deadline_at) == ({"b": 2}, ("first", "second"), NOW)
    assert found.started_at is not None


def test_writes_without_effect_leave_the_version(uow_factory: UnitOfWorkFactory) -> None:
    made = add_job(uow_factory, add_tenant(uow_factory), state=JobState.CANCELLING, counters=Counters(total=5))
    with uow_factory() as uow:
        uow.jobs.start(made.id)
        uow.jobs.set_stage(made.id, made.stage)
        uow.jobs.set_total(made.id, 9)
        uow.jobs.count(made.id, {Outcome.CREATED: 0})
        uow.commit()
    assert read(uow_factory, made) == made


@pytest.mark.parametrize(
    ("total", "canceled", "expected_total"),
    [(10, 6, 10), (4, 0, 4), (None, 0, 4)],
    ids=["rest is canceled", "all done", "unknown total becomes what was counted"],
)
def test_counters_add_up_at_the_end(
    uow_factory: UnitOfWorkFactory, total: int | None, canceled: int, expected_total: int
) -> None:
    counted = Counters(total=total, created=1, unchanged=2, failed=1)
    made = add_job(uow_factory, add_tenant(uow_factory), state=JobState.CANCELLING, counters=counted, deadline_at=NOW)
    with uow_factory() as uow:
        uow.jobs.set_state(made.id, JobState.CANCELED, error={"code": "canceled"})
        uow.commit()
    found = read(uow_factory, made)
    assert found.counters == replace(counted, total=expected_total, canceled=canceled)
    assert found.counters.pending == 0
    assert found.finished_at is not None
    assert (found.deadline_at, found.error) == (None, {"code": "canceled"})


def test_counting_too_much_or_too_late_is_refused(uow_factory: UnitOfWorkFactory) -> None:
    tenant_id = add_tenant(uow_factory)
    full = add_job(uow_factory, tenant_id, counters=Counters(total=2, created=2))
    with uow_factory() as uow, pytest.raises(IntegrityError, match="counts_at_most_total"):
        uow.jobs.count(full.id, {Outcome.UPDATED: 1})
    with uow_factory() as uow:
        uow.jobs.set_state(full.id, JobState.SUCCEEDED)
        uow.commit()
    with uow_factory() as uow, pytest.raises(IntegrityError):
        uow.jobs.count(full.id, {Outcome.UPDATED: 1})
    assert read(uow_factory, full).counters == Counters(total=2, created=2)


def test_pages_are_newest_first_and_stable_under_inserts(uow_factory: UnitOfWorkFactory) -> None:
    tenant_id = add_tenant(uow_factory)
    old = [add_job(uow_factory, tenant_id).id for _ in range(5)]
    seen, after = [], None
    while True:
        with uow_factory() as uow:
            page = uow.jobs.page(tenant_id, ANY, size=2, after=after)
        seen += [each.id for each in page.items]
        add_job(uow_factory, tenant_id)
        if page.next_key is None:
            break
        after = page.next_key
    assert seen == old[::-1]


def test_a_listing_is_filtered(uow_factory: UnitOfWorkFactory) -> None:
    tenant_id = add_tenant(uow_factory)
    wanted = add_job(
        uow_factory, tenant_id, kind=JobKind.QUERY, gallery_name="summer", state=JobState.RUNNING, created_at=NOW
    )
    add_job(uow_factory, tenant_id, gallery_name="winter", created_at=NOW - timedelta(days=1))
    queries = (
        JobQuery(kind=JobKind.QUERY),
        JobQuery(state=JobState.RUNNING),
        JobQuery(gallery_name="summer"),
        JobQuery(created_after=NOW - timedelta(hours=1)),
    )
    with uow_factory() as uow:
        for query in queries:
            assert [each.id for each in uow.jobs.page(tenant_id, query, size=5, after=None).items] == [wanted.id]
        assert uow.jobs.page(tenant_id, JobQuery(gallery_name="\0"), size=5, after=None).items == ()


@pytest.mark.parametrize("token", ["", "x", "../../etc", "\0", "1" * 40])
def test_a_forged_page_token_is_invalid_input(uow_factory: UnitOfWorkFactory, token: str) -> None:
    tenant_id = add_tenant(uow_factory)
    with uow_factory() as uow:
        with pytest.raises(InvalidInputError):
            uow.jobs.page(tenant_id, ANY, size=5, after=token)
        with pytest.raises(InvalidInputError):
            uow.items.page(new_id(), outcome=None, size=5, after=token)


def test_what_the_reconciler_looks_for(uow_factory: UnitOfWorkFactory) -> None:
    tenant_id, gallery_id = add_tenant(uow_factory), new_id()
    ended: dict[str, Any] = {
        "state": JobState.SUCCEEDED,
        "finished_at": NOW,
        "counters": Counters(total=0),
        "gallery_id": gallery_id,
    }
    overdue = add_job(uow_factory, tenant_id, state=JobState.RUNNING, deadline_at=NOW, gallery_id=gallery_id)
    add_job(uow_factory, tenant_id, state=JobState.RUNNING, deadline_at=NOW + timedelta(days=1))
    cancelling = add_job(uow_factory, tenant_id, state=JobState.CANCELLING, deadline_at=NOW)
    expired = add_job(uow_factory, tenant_id, expires_at=NOW, **ended)
    add_job(uow_factory, tenant_id, expires_at=NOW)
    with uow_factory() as uow:
        assert uow.jobs.overdue(NOW, limit=9) == (overdue.id,)
        assert uow.jobs.cancelling(limit=9) == (cancelling.id,)
        assert uow.jobs.expired(NOW, limit=9) == (expired,)
        assert uow.jobs.active_ids(gallery_id) == (overdue.id,)


def test_removing_a_job_removes_all_that_is_its(uow_factory: UnitOfWorkFactory) -> None:
    gone, kept = (add_job(uow_factory, add_tenant(uow_factory), units=2) for _ in range(2))
    candidate = Candidate(new_id(), "sku", 1, 0.5, 1, 0.5)
    with uow_factory() as uow:
        for each in (gone, kept):
            uow.items.add(each.id, each.tenant_id, [ItemOutcome("sku", Outcome.FAILED)])
            uow.candidates.replace(each.id, [candidate])
        uow.jobs.remove([gone.id])
        uow.commit()
    with uow_factory() as uow:
        assert uow.jobs.get(gone.tenant_id, gone.id) is None
        assert uow.units.open_kinds(gone.id) == frozenset()
        assert uow.items.page(gone.id, outcome=None, size=5, after=None).items == ()
        assert uow.candidates.list(gone.id) == ()
        assert uow.jobs.get(kept.tenant_id, kept.id) == kept
        assert uow.units.open_kinds(kept.id)
        assert uow.candidates.list(kept.id) == (candidate,)


def test_items_are_paged_in_order_of_arrival(uow_factory: UnitOfWorkFactory) -> None:
    made = add_job(uow_factory, add_tenant(uow_factory))
    outcomes = [
        ItemOutcome(f"sku-{n}", Outcome.FAILED if n % 2 else Outcome.CANCELED, f"a.csv:{n}", "code", "why")
        for n in range(5)
    ]
    with uow_factory() as uow:
        uow.items.add(made.id, made.tenant_id, outcomes)
        uow.items.add(made.id, made.tenant_id, [])
        first = uow.items.page(made.id, outcome=None, size=3, after=None)
        uow.items.add(made.id, made.tenant_id, [ItemOutcome("late", Outcome.FAILED)])
        second = uow.items.page(made.id, outcome=None, size=3, after=first.next_key)
        failed = uow.items.page(made.id, outcome=Outcome.FAILED, size=9, after=None)
    assert [*first.items, *second.items[:2]] == outcomes
    assert second.items[2].external_id == "late"
    assert second.next_key is None
    assert [each.external_id for each in failed.items] == ["sku-1", "sku-3", "late"]


def test_an_item_with_impossible_text_is_still_recorded(uow_factory: UnitOfWorkFactory) -> None:
    made = add_job(uow_factory, add_tenant(uow_factory))
    with uow_factory() as uow:
        uow.items.add(made.id, made.tenant_id, [ItemOutcome("a\0b", Outcome.FAILED, "\udcff.jpg", "bad_id", "\0")])
        page = uow.items.page(made.id, outcome=None, size=9, after=None)
    assert page.items == (ItemOutcome("a\ufffdb", Outcome.FAILED, "\ufffd.jpg", "bad_id", "\ufffd"),)


def test_candidates_are_replaced_and_listed_by_final_rank(uow_factory: UnitOfWorkFactory) -> None:
    made = add_job(uow_factory, add_tenant(uow_factory))
    coarse = [Candidate(new_id(), f"sku-{n}", n, 1 / n, n, 1 / n) for n in (1, 2, 3)]
    judged = [replace(each, rank=4 - each.coarse_rank, p_yes=0.5, error="unreadable") for each in coarse]
    with uow_factory() as uow:
        uow.candidates.replace(made.id, coarse)
        assert uow.candidates.list(made.id) == tuple(coarse)
        uow.candidates.replace(made.id, judged)
        assert uow.candidates.list(made.id) == tuple(judged[::-1])
        uow.candidates.replace(made.id, [])
        assert uow.candidates.list(made.id) == ()


@pytest.mark.parametrize("value", ["P-1", 3, 2.5, True, ["a", "b"], {"x": 1}, None])
def test_a_candidate_that_stands_for_a_group(uow_factory: UnitOfWorkFactory, value: object) -> None:
    made = add_job(uow_factory, add_tenant(uow_factory))
    candidate = Candidate(new_id(), "sku-1", 1, 0.5, 1, 0.5, group=value, group_images=4, duplicates=2)
    with uow_factory() as uow:
        uow.candidates.replace(made.id, [candidate])
        assert uow.candidates.list(made.id) == (candidate,)
