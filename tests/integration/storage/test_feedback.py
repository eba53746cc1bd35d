from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from core.errors import InvalidInputError, NotFoundError
from core.ids import new_id
from core.models import Feedback, Gallery, Kept
from core.ports import FeedbackQuery, UnitOfWorkFactory
from tests.integration.storage.builders import NOW, add_gallery, add_tenant

pytestmark = pytest.mark.integration

ALL = FeedbackQuery(size=100)


def judged(gallery: Gallery, job_id: UUID, external_id: str, *, relevant: bool = True) -> Feedback:
    return Feedback(
        new_id(), gallery.tenant_id, gallery.id, job_id, external_id, "sku-1", "röd", relevant=relevant, judged_at=NOW
    )


def keep(uow_factory: UnitOfWorkFactory, *rows: Feedback) -> Kept:
    with uow_factory() as uow:
        kept = uow.feedback.keep(rows)
        uow.commit()
    return kept


def read(uow_factory: UnitOfWorkFactory, gallery: Gallery, query: FeedbackQuery = ALL) -> tuple[Feedback, ...]:
    with uow_factory() as uow:
        return uow.feedback.page(gallery.id, query).items


@pytest.fixture
def gallery(uow_factory: UnitOfWorkFactory) -> Gallery:
    return add_gallery(uow_factory, add_tenant(uow_factory))


def test_one_judgement_a_job_and_image(uow_factory: UnitOfWorkFactory, gallery: Gallery) -> None:
    job_id = new_id()
    first, second = judged(gallery, job_id, "b"), judged(gallery, job_id, "a", relevant=False)
    assert keep(uow_factory, first, second) == Kept(stored=2, changed=0, unchanged=0)
    assert read(uow_factory, gallery) == (first, second)
    same, other = judged(gallery, job_id, "b"), judged(gallery, job_id, "a")
    third, elsewhere = judged(gallery, job_id, "c"), judged(gallery, new_id(), "b")
    assert keep(uow_factory, same, other, third, elsewhere) == Kept(stored=2, changed=1, unchanged=1)
    assert read(uow_factory, gallery) == (first, other, third, elsewhere)


def test_pages_by_when_people_judged(uow_factory: UnitOfWorkFactory, gallery: Gallery) -> None:
    rows = [judged(gallery, new_id(), "a") for _ in range(5)]
    keep(uow_factory, *reversed(rows))
    with uow_factory() as uow:
        first = uow.feedback.page(gallery.id, FeedbackQuery(size=3))
        assert first.next_key is not None
        rest = uow.feedback.page(gallery.id, FeedbackQuery(size=3, after=first.next_key))
        assert ([*first.items, *rest.items], rest.next_key) == (rows, None)
        with pytest.raises(InvalidInputError):
            uow.feedback.page(gallery.id, FeedbackQuery(size=3, after="x"))


def test_what_is_left_out_unless_asked_for(uow_factory: UnitOfWorkFactory, gallery: Gallery) -> None:
    whole = judged(gallery, new_id(), "a")
    late = replace(judged(gallery, new_id(), "a"), judged_at=NOW + timedelta(hours=1))
    no_text = replace(judged(gallery, new_id(), "a"), text=None)
    no_reference = replace(judged(gallery, new_id(), "a"), reference=None)
    keep(uow_factory, whole, late, no_text, no_reference)
    assert read(uow_factory, gallery) == (whole, late)
    assert read(uow_factory, gallery, replace(ALL, since=late.judged_at)) == (late,)
    assert read(uow_factory, gallery, replace(ALL, incomplete=True)) == (whole, late, no_text, no_reference)


def test_it_goes_with_its_gallery_alone(uow_factory: UnitOfWorkFactory, gallery: Gallery) -> None:
    other = add_gallery(uow_factory, gallery.tenant_id, "winter")
    kept = judged(other, new_id(), "a")
    keep(uow_factory, judged(gallery, new_id(), "a"), kept)
    with uow_factory() as uow:
        uow.galleries.remove(gallery.id)
        uow.commit()
    assert read(uow_factory, gallery) == ()
    assert read(uow_factory, other) == (kept,)
    with pytest.raises(NotFoundError, match="deleted"):
        keep(uow_factory, judged(gallery, new_id(), "a"))
