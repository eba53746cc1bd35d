"""How many images a tenant may have, in all its galleries; those that are there go on being updated. See docs/adr/0026.

A quota is kept where images are written, because only there nothing can come in between: whoever adds images to a
tenant with a quota holds the tenant's row, so that imports of one tenant take turns for that moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from core.items import PlannedItem, fetch_failed
from core.models import Gallery, ItemOutcome
from core.ports import UnitOfWork
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Quota:
    """Most images of a tenant; 0: as many as it likes."""

    tenant_id: UUID
    max_images: int

    def is_full(self, uow: UnitOfWork) -> bool:
        """Whether there is no room for another image now."""
        return bool(self.max_images) and uow.galleries.images_of(self.tenant_id) >= self.max_images

    def beyond(self, uow: UnitOfWork, gallery: Gallery, external_ids: Sequence[str]) -> frozenset[str]:
        """Those of the images that must not be written: the last of the new ones, as many as there is no room for.

        The room is the caller's until its transaction ends.
        """
        if not self.max_images:
            return frozenset()
        there = uow.images.current(gallery.id, external_ids)
        new = [external_id for external_id in external_ids if external_id not in there]
        if not new:
            return frozenset()
        uow.api_keys.quota(self.tenant_id, lock=True)
        room = max(0, self.max_images - uow.galleries.images_of(self.tenant_id))
        return frozenset(new[room:])

    def exceeded(self, item: PlannedItem) -> ItemOutcome:
        """The outcome of an image that there is no room for; a retry may find some."""
        detail = (
            f"All galleries together may hold {self.max_images} images, and do. Delete some, or ask your operator for"
            " more; then retry the job."
        )
        return fetch_failed(item, "quota_exceeded", detail)


def quota_of(uow: UnitOfWork, settings: Settings, tenant_id: UUID) -> Quota:
    """The tenant's own quota, or what the operator set for all."""
    own = uow.api_keys.quota(tenant_id)
    return Quota(tenant_id, settings.max_images_per_tenant if own is None else own)
