"""Our side: a gallery in Postgres, filled, built and searched through the ports that the workers use."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg

from benchmarks.faults.watch import Sql
from benchmarks.search.data import DIM, Collection
from cli.local.services import embedded_services
from cli.local.supervisor import Supervisor
from core.filters import Filter
from core.ids import new_id
from core.models import Blob, Device, Gallery, ImageDraft, Index, IndexState, Vector, Vectors
from core.ports import UnitOfWorkFactory
from core.settings import Settings
from storage.engine import create_engine
from storage.migrate import upgrade
from storage.uow import uow_factory
from storage.vector_builds import SqlVectorBuilder
from storage.vector_tables import hnsw_name, table_name

_BATCH = 500
_BLOB = Blob(hashlib.sha256(b"benchmark").hexdigest(), 1000, 100, 100, "image/jpeg")


@contextmanager
def database(data_dir: Path, *, buffers_mib: int) -> Iterator[Settings]:
    """The embedded Postgres alone, migrated; its settings otherwise as `setr up` has them."""
    settings = Settings(
        data_dir=data_dir,
        postgres_buffers_mib=buffers_mib,
        hnsw_build_memory_mib=1024,
        redis_url="redis://unused",
        s3_endpoint="unused:1",
    )
    with embedded_services(settings) as services, Supervisor(services.children, log_dir=services.log_dir):
        upgrade(services.database_url)
        yield services.settings


@dataclass
class PostgresGallery:
    """A gallery with one generation of a collection's vectors. `numbers` tells an image's place in the collection."""

    settings: Settings
    index_id: UUID = field(default_factory=new_id)
    numbers: dict[UUID, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._engine = create_engine(self.settings, application_name="bench")
        self._uow: UnitOfWorkFactory = uow_factory(self._engine, self.settings)

    def load(self, collection: Collection) -> None:
        """Images and vectors, batch by batch, as an import writes them."""
        gallery = self._add_gallery()
        for start in range(0, len(collection.vectors), _BATCH):
            batch = range(start, min(start + _BATCH, len(collection.vectors)))
            drafts = [ImageDraft(f"{number:08}", _BLOB, collection.attributes(number)) for number in batch]
            with self._uow() as uow:
                written = uow.images.upsert(gallery, drafts, job_id=new_id())
                ids = [written[draft.external_id].image_id for draft in drafts]
                uow.vectors.upsert(self.index_id, ids, collection.vectors[start : batch.stop])
                uow.commit()
            self.numbers |= dict(zip(ids, batch, strict=True))

    def load_beside(self, vectors: Vectors) -> None:
        """A second generation of the same images; from now on it is the one that is built and searched."""
        with self._uow() as uow:
            index = uow.indexes.get(self.index_id)
            assert index is not None  # noqa: S101 - made by `load`
            self.index_id = new_id()
            uow.indexes.add(_index(self.index_id, index.tenant_id, index.gallery_id))
            uow.vectors.ensure(self.index_id, DIM)
            uow.commit()
        ids = list(self.numbers)
        for start in range(0, len(ids), _BATCH):
            with self._uow() as uow:
                uow.vectors.upsert(self.index_id, ids[start : start + _BATCH], vectors[start : start + _BATCH])
                uow.commit()

    def build(self) -> None:
        """The HNSW index, where the service would build one."""
        with self._uow() as uow:
            due = self.index_id in uow.vectors.outgrown()
        if due and not SqlVectorBuilder(self._engine, self.settings).build(self.index_id, stopping=lambda: False):
            raise RuntimeError("The index was not built; see the log of Postgres.")

    def settle(self) -> None:
        """What autovacuum does some minutes after a load."""
        with psycopg.connect(self.settings.database_url.replace("+psycopg", ""), autocommit=True) as connection:
            for table in (table_name(self.index_id), "images", "image_numbers"):
                connection.execute(f"VACUUM (ANALYZE) {table}")

    def search(self, probe: Vector, limit: int, where: Filter | None) -> Sequence[int]:
        """Numbers of the nearest, found in a transaction of its own, as a query worker does."""
        with self._uow() as uow:
            hits = uow.vectors.search(self.index_id, probe, limit=limit, where=where, exact=False)
        return [self.numbers[hit.image_id] for hit in hits]

    def sizes_mb(self) -> tuple[float, float]:
        """Of the table of vectors, and of its HNSW index."""
        asked = "SELECT pg_table_size(to_regclass(%s)) AS rows, coalesce(pg_relation_size(to_regclass(%s)), 0) AS hnsw"
        with Sql(self.settings.database_url) as sql:
            sizes = sql.rows(asked, table_name(self.index_id), hnsw_name(self.index_id))[0]
        return sizes["rows"] / 1e6, sizes["hnsw"] / 1e6

    def _add_gallery(self) -> Gallery:
        now = datetime.now(UTC)
        with self._uow() as uow:
            tenant_id = uow.api_keys.add_tenant(f"bench-{self.index_id}")
            gallery = Gallery(
                id=new_id(),
                tenant_id=tenant_id,
                name="bench",
                encoder="demo",
                device=Device.AUTO,
                attributes_schema={},
                active_index_id=self.index_id,
                version=1,
                image_count=0,
                created_at=now,
                updated_at=now,
            )
            uow.galleries.add(gallery)
            uow.indexes.add(_index(self.index_id, tenant_id, gallery.id))
            uow.blobs.add(tenant_id, [_BLOB])
            uow.vectors.ensure(self.index_id, DIM)
            uow.commit()
        return gallery


def _index(index_id: UUID, tenant_id: UUID, gallery_id: UUID) -> Index:
    return Index(id=index_id, tenant_id=tenant_id, gallery_id=gallery_id, encoder="demo", state=IndexState.ACTIVE)
