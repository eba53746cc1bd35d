"""Counting what an import left behind against what it should have: items, vectors, blobs and objects."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import UUID

from benchmarks.faults.watch import Sql
from core.keys import blob_key, thumbnail_key
from core.ports import ObjectStore

CENSUS = ("images", "vectors", "blobs", "objects")
"""Of a `Count`: what is there. All else are deviations."""

_SAME = 0.995  # cosine of two vectors of one picture, in half precision, from batches of different sizes
_GALLERY = """
    SELECT galleries.id, galleries.tenant_id, galleries.active_index_id FROM galleries JOIN jobs ON jobs.gallery_id =
    galleries.id WHERE jobs.id = %s
"""
_JOB = "SELECT state, total, created, updated, unchanged, failed, canceled FROM jobs WHERE id = %s"
_JOBS = "SELECT count(*) FROM jobs WHERE gallery_id = %s AND kind = 'import'"
_UNITS = "SELECT count(*) FROM work_units WHERE job_id = %s AND state IN ('pending', 'running')"
_IMAGES = "SELECT external_id, sha256 FROM images WHERE gallery_id = %s"


@dataclass(frozen=True)
class Count:
    """What is there, and deviations from the truth: all zeros when nothing is lost, double or stuck.

    Lost: `failed_items`, `missing_*`, `wrong_vectors` (not those of the picture). Double: `surplus_*`, `recounted`.
    Stuck: `open_jobs`, `open_units`. Objects are pictures and thumbnails in the bucket.
    """

    images: int
    vectors: int
    blobs: int
    objects: int
    failed_items: int
    missing_images: int
    missing_vectors: int
    wrong_vectors: int
    missing_blobs: int
    missing_objects: int
    surplus_jobs: int
    surplus_images: int
    surplus_vectors: int
    surplus_blobs: int
    surplus_objects: int
    recounted: int
    open_jobs: int
    open_units: int

    @property
    def lost(self) -> int:
        """Items, vectors, blobs and objects that should be there."""
        return self.failed_items + self._sum("missing_", "wrong_")

    @property
    def duplicated(self) -> int:
        """What is there or was counted more than once."""
        return self.recounted + self._sum("surplus_")

    @property
    def stuck(self) -> int:
        """Jobs and units that did not end."""
        return self._sum("open_")

    def _sum(self, *prefixes: str) -> int:
        return sum(getattr(self, field.name) for field in fields(self) if field.name.startswith(prefixes))

    def deviations(self) -> dict[str, int]:
        """What is not zero, by name."""
        return {name: value for name, value in asdict(self).items() if value and name not in CENSUS}


@dataclass(frozen=True)
class Auditor:
    """Counts by SQL and by listing the bucket. `reference_job` is an undisturbed import of the same pictures."""

    sql: Sql
    objects: ObjectStore
    truth: Mapping[str, str]
    reference_job: UUID | None = None

    def count(self, job_id: UUID, *, open_jobs: int = 0) -> Count:
        """Compare all that the job wrote, in a gallery and tenant of its own, with the truth."""
        (gallery,) = self.sql.rows(_GALLERY, job_id)
        (job,) = self.sql.rows(_JOB, job_id)
        images = self.sql.rows(_IMAGES, gallery["id"])
        right = {row["external_id"] for row in images if self.truth.get(row["external_id"]) == row["sha256"]}
        return Count(
            failed_items=job["failed"] + job["canceled"],
            missing_images=len(self.truth.keys() - right),
            images=len(images),
            wrong_vectors=self._wrong_vectors(gallery),
            surplus_jobs=self.sql.value(_JOBS, gallery["id"]) - 1,
            surplus_images=len(images) - len(right),
            recounted=job["updated"] + job["unchanged"],
            open_jobs=open_jobs,
            open_units=self.sql.value(_UNITS, job_id),
            **self._vectors(gallery),
            **self._stored(gallery["tenant_id"]),
        )

    def _vectors(self, gallery: Mapping[str, Any]) -> dict[str, int]:
        table = f"vectors.g_{gallery['active_index_id'].hex}"
        (row,) = self.sql.rows(
            "SELECT count(v.image_id) AS vectors, "  # noqa: S608 - a UUID's hex digits
            "count(*) FILTER (WHERE v.image_id IS NULL) AS missing_vectors, "
            "count(*) FILTER (WHERE i.id IS NULL) AS surplus_vectors "
            f"FROM (SELECT id FROM images WHERE gallery_id = %s) AS i FULL JOIN {table} AS v ON v.image_id = i.id",
            gallery["id"],
        )
        return dict(row)

    def _wrong_vectors(self, gallery: Mapping[str, Any]) -> int:
        if self.reference_job is None:
            return 0
        (other,) = self.sql.rows(_GALLERY, self.reference_job)
        mine, theirs = (f"vectors.g_{one['active_index_id'].hex}" for one in (gallery, other))
        return int(
            self.sql.value(
                f"SELECT count(*) FROM images i JOIN {mine} v ON v.image_id = i.id "  # noqa: S608
                f"JOIN images j ON j.sha256 = i.sha256 JOIN {theirs} w ON w.image_id = j.id "
                "WHERE i.gallery_id = %s AND j.gallery_id = %s AND -(v.vector <#> w.vector) < %s",
                gallery["id"],
                other["id"],
                _SAME,
            )
        )

    def _stored(self, tenant_id: UUID) -> dict[str, int]:
        expected = set(self.truth.values())
        blobs = {row["sha256"] for row in self.sql.rows("SELECT sha256 FROM blobs WHERE tenant_id = %s", tenant_id)}
        keys = {make(tenant_id, sha256) for sha256 in expected for make in (blob_key, thumbnail_key)}
        listed = [
            key for folder in ("blobs", "thumbnails") for key in self.objects.keys(f"tenants/{tenant_id}/{folder}/")
        ]
        return {
            "blobs": len(blobs),
            "objects": len(listed),
            "missing_blobs": len(expected - blobs),
            "surplus_blobs": len(blobs - expected),
            "missing_objects": len(keys.difference(listed)),
            "surplus_objects": len(listed) - len(keys.intersection(listed)),
        }
