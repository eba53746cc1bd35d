"""Images that a tenant may have: what is new beyond them fails, what is there goes on being updated."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from core import galleries
from core.context import Context
from core.galleries import NewGallery
from core.models import Job, JobState, UnitKind
from tests.integration.core.importing import Shop, picture

pytestmark = pytest.mark.integration

RED, GREEN = picture("red"), picture("green")
OVER = ("failed", "quota_exceeded")


def allow(shop: Shop, max_images: int | None) -> None:
    with shop.ctx.uow() as uow:
        assert uow.api_keys.set_quota(uow.api_keys.tenant_name(shop.principal.tenant_id), max_images)
        uow.commit()


def named(*names: str) -> dict[str, bytes]:
    return {f"{name}.png": RED for name in names}


def counts(job: Job) -> tuple[int, int]:
    return job.counters.created, job.counters.failed


def test_images_beyond_the_quota_fail_and_a_retry_brings_them_when_there_is_room(shop: Shop) -> None:
    allow(shop, 3)
    job = shop.imported(named("a", "b", "c", "d", "e"))
    assert (job.state, *counts(job)) == (JobState.PARTIALLY_SUCCEEDED, 3, 2)
    assert shop.items(job.id) == {"d.png": OVER, "e.png": OVER}
    (detail, _) = (item.detail for item in shop.failed(job.id))
    assert "may hold 3 images" in detail
    assert shop.contents() == named("a", "b", "c")
    allow(shop, 5)
    assert counts(shop.ended(shop.retry(job.id).id)) == (2, 0)
    assert shop.contents() == named("a", "b", "c", "d", "e")


def test_what_is_there_is_updated_at_a_full_quota_and_what_is_new_is_not_even_embedded(shop: Shop) -> None:
    shop.imported(named("a", "b"))
    allow(shop, 1)  # less than there is: nothing is taken away
    job = shop.submit({"a.png": GREEN, "b.png": RED, "c.png": RED})
    while shop.run_one():
        with shop.ctx.uow() as uow:
            drafts = UnitKind.EMBED in uow.units.open_kinds(job)
        assert not drafts or shop.items(job) == {"c.png": OVER}
    assert shop.contents() == {"a.png": GREEN, "b.png": RED}
    ended = shop.job(job)
    assert (ended.counters.updated, ended.counters.unchanged, ended.counters.failed) == (1, 1, 1)


def test_all_galleries_of_a_tenant_count_together_and_deleting_makes_room(shop: Shop) -> None:
    allow(shop, 3)
    shop.imported(named("a", "b"))
    winter = replace(shop, gallery=galleries.create(shop.ctx, shop.principal, NewGallery("winter")))
    assert counts(winter.imported(named("a", "b"))) == (1, 1)
    galleries.delete(shop.ctx, shop.principal, "summer")
    assert counts(winter.imported(named("a", "b"))) == (1, 0)


@pytest.mark.parametrize(("own", "fit"), [(None, 2), (1, 1), (0, 4)])
def test_a_tenants_own_quota_comes_before_the_operators(shop: Shop, own: int | None, fit: int) -> None:
    ctx: Context = replace(shop.ctx, settings=shop.ctx.settings.model_copy(update={"max_images_per_tenant": 2}))
    limited = replace(shop, ctx=ctx)
    allow(limited, own)
    assert counts(limited.imported(named("a", "b", "c", "d"))) == (fit, 4 - fit)


def test_imports_at_once_do_not_pass_the_quota_together(shop: Shop) -> None:
    allow(shop, 5)
    jobs = [shop.submit(named(*(f"{who}-{number}" for number in range(4)))) for who in "xy"]

    def work(_: int) -> None:
        while shop.run_one():
            pass

    with ThreadPoolExecutor(2) as workers:
        list(workers.map(work, range(2)))
    assert [sum(each) for each in zip(*(counts(shop.job(job)) for job in jobs), strict=True)] == [5, 3]
    assert len(shop.contents()) == 5
