from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from core.errors import ConflictError, InvalidInputError, NotFoundError
from core.filters import parse_filter
from core.ids import new_id
from core.models import Attributes, Blob, Device, Gallery, Image, ImageDraft, ImageState, ItemOutcome, Outcome, Page
from core.ports import Traits, UnitOfWorkFactory, Written
from tests.integration.storage import builders
from tests.integration.storage.builders import add_gallery, add_images, add_tenant, blob, draft, gallery, index

pytestmark = pytest.mark.integration


@pytest.fixture
def summer(uow_factory: UnitOfWorkFactory) -> Gallery:
    return add_gallery(uow_factory, add_tenant(uow_factory))


def found(uow_factory: UnitOfWorkFactory, in_gallery: Gallery, external_id: str) -> Image:
    with uow_factory() as uow:
        image = uow.images.find(in_gallery.id, external_id)
    assert image is not None
    return image


def test_a_gallery_is_read_as_it_was_added(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    with uow_factory() as uow:
        assert uow.galleries.get(summer.tenant_id, "summer") == summer
        assert uow.galleries.by_id(summer.id) == summer
        assert uow.galleries.get(summer.tenant_id, "sum\0mer") is None


def test_another_tenants_gallery_does_not_exist(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    other = add_tenant(uow_factory, "other")
    with uow_factory() as uow:
        assert uow.galleries.get(other, summer.name) is None
        assert uow.galleries.page(other, size=9, after=None).items == ()
        uow.galleries.add(gallery(other, summer.name))


def test_names_are_unique_among_galleries_that_live(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    with uow_factory() as uow:
        with pytest.raises(ConflictError):
            uow.galleries.add(gallery(summer.tenant_id, "summer"))
        uow.galleries.update(replace(summer, deleting=True))
        assert uow.galleries.get(summer.tenant_id, "summer") is None
        uow.galleries.add(gallery(summer.tenant_id, "summer"))
        uow.galleries.update(summer)  # by somebody who did not see that deletion began
        assert uow.galleries.by_id(summer.id) == replace(
            summer,
            deleting=True,
            version=3,
            updated_at=uow.galleries.by_id(summer.id).updated_at,  # type: ignore[union-attr]
        )


def test_renaming_to_a_taken_name_is_a_conflict(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    add_gallery(uow_factory, summer.tenant_id, "winter")
    with uow_factory() as uow, pytest.raises(ConflictError):
        uow.galleries.update(replace(summer, name="winter"))


def test_a_gallery_and_its_active_index_arrive_together(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    generation = index(summer)
    with uow_factory() as uow:
        uow.galleries.update(replace(summer, active_index_id=generation.id, device=Device.GPU))
        uow.indexes.add(generation)
        uow.commit()
    with uow_factory() as uow:
        after = uow.galleries.by_id(summer.id)
    assert after is not None
    assert (after.active_index_id, after.device, after.version) == (generation.id, Device.GPU, 2)
    assert after.updated_at > summer.updated_at


def test_galleries_are_paged_by_name(uow_factory: UnitOfWorkFactory) -> None:
    tenant_id = add_tenant(uow_factory)
    for name in ("b", "a", "d"):
        add_gallery(uow_factory, tenant_id, name)
    with uow_factory() as uow:
        first = uow.galleries.page(tenant_id, size=2, after=None)
        uow.galleries.add(gallery(tenant_id, "c"))
        second = uow.galleries.page(tenant_id, size=2, after=first.next_key)
        with pytest.raises(InvalidInputError):
            uow.galleries.page(tenant_id, size=2, after="\0")
    assert [[each.name for each in page.items] for page in (first, second)] == [["a", "b"], ["c", "d"]]
    assert second.next_key is None


def test_removing_a_gallery_removes_what_is_in_it(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    add_images(uow_factory, summer, ["a"])
    generation = index(summer)
    with uow_factory() as uow:
        uow.indexes.add(generation)
        uow.galleries.update(replace(summer, active_index_id=generation.id))
        uow.galleries.remove(summer.id)
        uow.commit()
    with uow_factory() as uow:
        assert uow.galleries.by_id(summer.id) is None
        assert uow.indexes.get(generation.id) is None
        assert uow.images.count(summer.id) == 0
        with pytest.raises(NotFoundError):
            uow.galleries.update(summer)


def test_an_image_is_read_as_it_was_written(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    job_id, attributes = new_id(), {"price": 12.5, "tags": ["a", None], "名": "é"}
    with uow_factory() as uow:
        written = uow.images.upsert(summer, [draft("sku", attributes)], job_id=job_id)
        uow.commit()
    image_id = written["sku"].image_id
    assert written == {"sku": Written(image_id, Outcome.CREATED)}
    image = found(uow_factory, summer, "sku")
    assert image == Image(
        id=image_id,
        tenant_id=summer.tenant_id,
        gallery_id=summer.id,
        external_id="sku",
        blob=blob(),
        attributes=attributes,
        state=ImageState.READY,
        last_job_id=job_id,
        version=1,
        created_at=image.created_at,
        updated_at=image.updated_at,
    )
    with uow_factory() as uow:
        assert uow.images.get(summer.id, image_id) == image
        assert uow.images.get(new_id(), image_id) is None
        assert uow.images.many([new_id(), image_id]) == {image_id: image}
        assert uow.images.find(summer.id, "sk\0u") is None


def test_an_older_job_never_overwrites_a_newer_one(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    older, newer, newest = new_id(), new_id(), new_id()
    outcomes = []
    for job_id in (newer, older, newer, newest):
        with uow_factory() as uow:
            written = uow.images.upsert(summer, [draft("sku", {"by": str(job_id)})], job_id=job_id)
            uow.commit()
        outcomes.append(written["sku"].outcome if written else None)
    assert outcomes == [Outcome.CREATED, None, Outcome.UPDATED, Outcome.UPDATED]
    image = found(uow_factory, summer, "sku")
    assert (image.attributes, image.last_job_id, image.version) == ({"by": str(newest)}, newest, 3)
    with uow_factory() as uow:
        assert uow.images.current(summer.id, ["sku", "no", "\0"])["sku"].last_job_id == newest


def test_one_upsert_mixes_created_updated_and_left_alone(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    job_id = new_id()
    add_images(uow_factory, summer, ["newer"])
    with uow_factory() as uow:
        uow.images.upsert(summer, [draft("mine")], job_id=job_id)
        drafts = [draft("new"), draft("mine"), draft("newer"), draft("new", {"n": 2})]
        written = uow.images.upsert(summer, drafts, job_id=job_id)
        assert {key: each.outcome for key, each in written.items()} == {
            "new": Outcome.CREATED,
            "mine": Outcome.UPDATED,
        }
        assert uow.images.upsert(summer, [], job_id=job_id) == {}
        uow.commit()
    assert found(uow_factory, summer, "new").attributes == {"n": 2}


def test_concurrent_batches_over_the_same_rows_end(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    names = [f"sku-{n}" for n in range(100)]

    def write(backwards: bool) -> None:  # noqa: FBT001 - mapped over
        for _ in range(10):
            add_images(uow_factory, summer, names[::-1] if backwards else names)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, (False, True)))
    with uow_factory() as uow:
        assert uow.images.count(summer.id) == 100
        assert uow.galleries.by_id(summer.id).image_count == 100  # type: ignore[union-attr]


def test_claiming_makes_a_job_the_last_writer_of_what_it_has_seen(
    uow_factory: UnitOfWorkFactory, summer: Gallery
) -> None:
    older, job_id = new_id(), new_id()
    with uow_factory() as uow:
        uow.images.upsert(summer, [draft("same"), draft("changed")], job_id=older)
        uow.images.upsert(summer, [draft("changed", {"n": 1})], job_id=older)
        uow.images.upsert(summer, [draft("newer")], job_id=new_id())
        claimed = uow.images.claim(summer.id, {"same": 1, "changed": 1, "newer": 1, "gone": 1}, job_id=job_id)
        uow.commit()
    assert claimed == {"same"}
    image = found(uow_factory, summer, "same")
    assert (image.last_job_id, image.version) == (job_id, 1)
    with uow_factory() as uow:
        assert uow.images.upsert(summer, [draft("same", {"n": 2})], job_id=older) == {}


def test_what_a_job_does_not_name_is_listed_page_by_page(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    older, job = new_id(), builders.add_job(uow_factory, summer.tenant_id)
    with uow_factory() as uow:
        uow.images.upsert(summer, [draft(name) for name in ("a", "b", "c", "failed", "mine")], job_id=older)
        uow.images.upsert(summer, [draft("mine")], job_id=job.id)
        uow.images.upsert(summer, [draft("newer")], job_id=new_id())
        uow.items.add(job.id, job.tenant_id, [ItemOutcome("failed", Outcome.FAILED, code="x")])
        assert uow.images.count_unnamed(summer.id, job.id) == 3
        assert uow.images.unnamed(summer.id, job.id, after="", limit=2) == ("a", "b")
        assert uow.images.unnamed(summer.id, job.id, after="b", limit=2) == ("c",)
        assert uow.images.count_written_before(summer.id, job.id) == 4
        assert uow.images.count_written_before(summer.id, job.id, external_ids=["a", "mine", "no", "\0"]) == 1


def test_only_what_no_newer_job_wrote_is_removed(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    older, job_id = new_id(), new_id()
    with uow_factory() as uow:
        ids = uow.images.upsert(summer, [draft("a"), draft("b")], job_id=older)
        uow.images.upsert(summer, [draft("newer")], job_id=new_id())
        assert uow.images.remove_older(summer.id, ["a", "newer", "gone"], job_id=job_id) == {"a": ids["a"].image_id}
        assert uow.images.count(summer.id) == 2
        after = uow.galleries.get(summer.tenant_id, summer.name)
    assert after is not None
    assert after.image_count == 2


def test_an_image_needs_its_blob(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    unknown = replace(draft("sku"), blob=blob("never added"))
    with uow_factory() as uow, pytest.raises(IntegrityError, match="fk_images_tenant_id_sha256"):
        uow.images.upsert(summer, [unknown], job_id=new_id())


def test_the_image_count_follows_writes_and_removals(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    ids = add_images(uow_factory, summer, ["a", "b", "c"])
    with uow_factory() as uow:
        uow.images.upsert(summer, [draft("a"), draft("d")], job_id=new_id())
        assert uow.images.remove(summer.id, [ids["b"], new_id()]) == 1
        assert uow.images.remove(new_id(), [ids["a"]]) == 0
        assert uow.images.count(summer.id) == 3
        after = uow.galleries.get(summer.tenant_id, summer.name)
    assert after is not None
    assert after.image_count == 3


def test_attributes_are_set_unless_a_newer_job_wrote(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    job_id = new_id()
    add_images(uow_factory, summer, ["newer"])
    with uow_factory() as uow:
        uow.images.upsert(summer, [draft("a", {"n": 1}), draft("b")], job_id=job_id)
        outcomes = uow.images.set_attributes(
            summer.id, {"newer": {"n": 9}, "b": {}, "a": {"n": 2}, "gone": {}}, job_id=job_id
        )
        uow.commit()
    assert outcomes == {
        "a": Outcome.UPDATED,
        "b": Outcome.UPDATED,
        "newer": Outcome.UNCHANGED,
        "gone": Outcome.UNCHANGED,
    }
    assert (found(uow_factory, summer, "a").attributes, found(uow_factory, summer, "a").version) == ({"n": 2}, 2)
    assert found(uow_factory, summer, "newer").attributes == {}


def test_an_edit_replaces_the_attributes(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    ids = add_images(uow_factory, summer, ["a"], [{"old": True}])
    with uow_factory() as uow:
        edited = uow.images.patch_attributes(ids["a"], {"new": [1]})
        assert edited == uow.images.get(summer.id, ids["a"])
        assert (edited.attributes, edited.version) == ({"new": [1]}, 2)
        with pytest.raises(NotFoundError):
            uow.images.patch_attributes(new_id(), {})


def test_images_are_paged_by_id_and_filtered(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    names = [f"sku-{n}" for n in range(5)]
    add_images(uow_factory, summer, names, [{"even": n % 2 == 0} for n in range(5)])
    seen, after = [], None
    for _ in range(3):
        with uow_factory() as uow:
            page = uow.images.page(summer.id, size=2, after=after, where=None, external_id=None)
        seen += [image.external_id for image in page.items]
        after = page.next_key
        if after is not None:
            add_images(uow_factory, summer, [f"late-{after}"])
    assert sorted(seen[:5]) == names
    with uow_factory() as uow:
        where = parse_filter({"even": True})
        even = uow.images.page(summer.id, size=9, after=None, where=where, external_id=None)
        one = uow.images.page(summer.id, size=9, after=None, where=None, external_id="sku-3")
        none = uow.images.page(summer.id, size=9, after=None, where=where, external_id="sku-\0")
    assert sorted(image.external_id for image in even.items) == ["sku-0", "sku-2", "sku-4"]
    assert [image.external_id for image in one.items] == ["sku-3"]
    assert none == Page(items=(), next_key=None)


def test_terms_are_the_most_frequent_short_strings(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    values: list[Attributes] = [
        {"color": "red", "title": "a very long title"},
        {"color": "blue", "title": " summer  dress\n"},
        {"color": " red", "price": 3, "tags": ["x"]},
        {"color": "green", "title": "", "material": None},
    ]
    add_images(uow_factory, summer, list("abcd"), values)
    add_images(uow_factory, add_gallery(uow_factory, summer.tenant_id, "winter"), ["e"], [{"color": "black"}])
    with uow_factory() as uow:
        terms = uow.images.terms(summer.id, max_words=3, max_values=2, newest=100)
        of_newest = uow.images.terms(summer.id, max_words=3, max_values=2, newest=2)
    assert terms == {"color": ("red", "blue"), "title": ("summer dress",)}
    assert of_newest == {"color": ("green", "red")}


def test_traits_are_an_attribute_and_looks(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    seen = Blob("1" * 64, 1, 1, 1, "image/png", phash=-5, tint=0x102030)
    with uow_factory() as uow:
        uow.blobs.add(summer.tenant_id, [seen])
        drafts = [ImageDraft("seen", seen, {"product": "P-1"}), draft("plain", {"product": None}), draft("bare")]
        written = uow.images.upsert(summer, sorted(drafts, key=lambda each: each.external_id), job_id=new_id())
        ids = {name: each.image_id for name, each in written.items()}
        traits = uow.images.traits([*ids.values(), new_id()], "product")
        looks = uow.images.traits([ids["seen"]], None)
    assert traits.keys() == set(ids.values())
    assert traits[ids["seen"]] == Traits("P-1", -5, 0x102030)
    assert looks == {ids["seen"]: Traits(None, -5, 0x102030)}
    # Without looks the content decides: both have the same picture.
    assert traits[ids["plain"]] == traits[ids["bare"]]
    assert traits[ids["bare"]].value is None


def test_blobs_are_touched_and_known_by_tenant(uow_factory: UnitOfWorkFactory, engine: Engine) -> None:
    mine, other = add_tenant(uow_factory, "mine"), add_tenant(uow_factory, "other")
    a, b = blob("a"), blob("b")
    with uow_factory() as uow:
        uow.blobs.add(mine, [b, a, a])
        uow.commit()
    with engine.begin() as connection:
        connection.execute(text("UPDATE blobs SET touched_at = touched_at - interval '2 days'"))
    with uow_factory() as uow:
        assert uow.blobs.touch(mine, [b.sha256, a.sha256, "0" * 64]) == {a.sha256: a, b.sha256: b}
        assert uow.blobs.touch(other, [a.sha256]) == {}
        uow.blobs.add(mine, [])
        uow.commit()
    with engine.connect() as connection:
        old = "SELECT count(*) FROM blobs WHERE touched_at < now() - interval '1 day'"
        assert connection.execute(text(old)).scalar_one() == 0


def test_a_touched_blob_is_locked(uow_factory: UnitOfWorkFactory, engine: Engine) -> None:
    tenant_id = add_tenant(uow_factory)
    held = Blob("0" * 64, 1, 1, 1, "image/png")
    with uow_factory() as uow:
        uow.blobs.add(tenant_id, [held])
        uow.commit()
    with uow_factory() as uow, engine.connect() as collector:
        uow.blobs.touch(tenant_id, [held.sha256])
        free = collector.execute(text("SELECT sha256 FROM blobs FOR UPDATE SKIP LOCKED")).all()
    assert free == []
