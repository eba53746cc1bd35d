from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from core.errors import NotFoundError
from core.ids import new_id
from core.models import Gallery, RemoteVersion, Upload
from core.ports import UnitOfWorkFactory
from tests.integration.storage import builders

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def gallery(uow_factory: UnitOfWorkFactory) -> Gallery:
    return builders.add_gallery(uow_factory, builders.add_tenant(uow_factory))


def version(name: str, etag: str = '"1"') -> RemoteVersion:
    return RemoteVersion(f"https://a.example/{name}", etag, "", "0" * 64)


def upload(gallery: Gallery, number: int = 0, **changes: object) -> Upload:
    made = Upload(new_id(), gallery.tenant_id, gallery.id, f"key-{number}", f"{number}.jpg", 10**10, None, NOW + HOUR)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_versions_are_remembered_and_replaced(uow_factory: UnitOfWorkFactory, gallery: Gallery) -> None:
    with uow_factory() as uow:
        uow.remote_versions.remember(gallery.id, {"b": version("b"), "a": version("a")})
        uow.remote_versions.remember(gallery.id, {"a": version("a", 'W/"2"'), "c": version("c")})
        uow.remote_versions.remember(gallery.id, {})
        known = uow.remote_versions.known(gallery.id, ["a", "b", "none", "nul\0"])
        assert known == {"a": version("a", 'W/"2"'), "b": version("b")}
        assert uow.remote_versions.known(new_id(), ["a"]) == {}


def test_versions_without_an_image_are_forgotten(uow_factory: UnitOfWorkFactory, gallery: Gallery) -> None:
    builders.add_images(uow_factory, gallery, ["kept"])
    with uow_factory() as uow:
        uow.remote_versions.remember(gallery.id, {name: version(name) for name in ("kept", "gone", "lost")})
        assert uow.remote_versions.forget_orphans(before=NOW - HOUR, limit=9) == 0
        assert uow.remote_versions.forget_orphans(before=NOW + HOUR, limit=1) == 1
        assert uow.remote_versions.forget_orphans(before=NOW + HOUR, limit=9) == 1
        assert set(uow.remote_versions.known(gallery.id, ["kept", "gone", "lost"])) == {"kept"}


def test_versions_go_with_their_gallery(uow_factory: UnitOfWorkFactory, gallery: Gallery) -> None:
    with uow_factory() as uow:
        uow.remote_versions.remember(gallery.id, {"a": version("a")})
        uow.galleries.remove(gallery.id)
        assert uow.remote_versions.known(gallery.id, ["a"]) == {}


def test_uploads_are_found_in_their_gallery_only(uow_factory: UnitOfWorkFactory, gallery: Gallery) -> None:
    made = [upload(gallery, number, sha256="f" * 64) for number in range(2)]
    with uow_factory() as uow:
        uow.uploads.add(made)
        assert uow.uploads.find(gallery.id, [one.id for one in made] + [new_id()]) == {one.id: one for one in made}
        assert uow.uploads.find(new_id(), [made[0].id]) == {}


def test_uploads_expire_unless_kept(uow_factory: UnitOfWorkFactory, gallery: Gallery) -> None:
    old, kept, young = upload(gallery, 0, expires_at=NOW - HOUR), upload(gallery, 1), upload(gallery, 2)
    with uow_factory() as uow:
        uow.uploads.add([old, kept, young])
        uow.uploads.keep([kept.id], until=NOW + 9 * HOUR)
        uow.uploads.keep([young.id], until=NOW - 9 * HOUR)
        uow.commit()

    def expired(now: datetime, limit: int = 9) -> list[UUID]:
        with uow_factory() as uow:
            return [one.id for one in uow.uploads.expired(now, limit=limit)]

    assert expired(NOW) == [old.id]
    assert expired(NOW + 2 * HOUR) == [old.id, young.id]
    assert expired(NOW + 20 * HOUR, limit=1) == [old.id]
    with uow_factory() as uow:
        uow.uploads.remove([old.id, young.id])
        uow.commit()
    assert expired(NOW + 20 * HOUR) == [kept.id]


def test_tenants_have_names(uow_factory: UnitOfWorkFactory, gallery: Gallery) -> None:
    with uow_factory() as uow:
        assert uow.api_keys.tenant_name(gallery.tenant_id) == "shop"
        with pytest.raises(NotFoundError):
            uow.api_keys.tenant_name(new_id())
