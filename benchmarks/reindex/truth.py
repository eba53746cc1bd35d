"""What a gallery may hold at a moment, as its clients know it, and how SQL differs from that."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from benchmarks.faults.watch import Sql

Contents = Mapping[str, frozenset[str | None]]
"""Pictures (SHA-256) that an external id may have at a moment; None: no image."""

SAME = 0.995
"""Cosine of two vectors of one picture, in half precision, from batches of different sizes."""

_GALLERY = "SELECT id, active_index_id FROM galleries WHERE name = %s"
_ENCODER = "SELECT encoder FROM indexes WHERE id = %s"
_LIVE = "SELECT id, state FROM indexes WHERE gallery_id = %s AND state IN ('active', 'standby', 'ready')"


@dataclass
class Truth:
    """What was asked for, and what of it the service has said to be done."""

    _known: dict[str, frozenset[str | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def asked(self, changes: Mapping[str, str | None]) -> None:
        """These were submitted: before the answer both the old and the new are right."""
        with self._lock:
            for name, sha256 in changes.items():
                self._known[name] = self._known.get(name, frozenset({None})) | {sha256}

    def done(self, changes: Mapping[str, str | None]) -> None:
        """The service says that these are done: only the new is right."""
        with self._lock:
            self._known.update({name: frozenset({sha256}) for name, sha256 in changes.items()})

    def now(self) -> Contents:
        """As of this moment."""
        with self._lock:
            return dict(self._known)


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at a generation: images that it should have found and did not, and vectors of something else."""

    index_id: str
    missing: int
    stale: int


@dataclass(frozen=True)
class Witness:
    """Compares a gallery in SQL with the truth.

    `references` names a gallery for each encoder that has every picture, and never changes.
    """

    sql: Sql
    truth: Truth
    gallery: str
    references: Mapping[str, str]

    def look(self) -> Seen:
        """At the generation that answers, in one statement, so that it is one moment."""
        gallery = self._gallery(self.gallery)
        while True:
            before = self.truth.now()
            rows = self._rows(gallery, gallery["active_index_id"])
            after = self.truth.now()
            if rows and rows[0]["active_index_id"] == gallery["active_index_id"]:
                return self._seen(str(gallery["active_index_id"]), rows, before, after)
            gallery = self._gallery(self.gallery)  # switched in between

    def look_at_all(self) -> dict[str, Seen]:
        """At every finished generation, by its state, when nothing changes any more."""
        gallery, known = self._gallery(self.gallery), self.truth.now()
        live = self.sql.rows(_LIVE, gallery["id"])
        rows = {row["state"]: (str(row["id"]), self._rows(gallery, row["id"])) for row in live}
        return {state: self._seen(index_id, found, known, known) for state, (index_id, found) in rows.items()}

    def _gallery(self, name: str) -> dict[str, UUID]:
        (row,) = self.sql.rows(_GALLERY, name)
        return row

    def _rows(self, gallery: Mapping[str, UUID], index_id: UUID) -> list[dict[str, object]]:
        """All images, and all vectors of images that are gone."""
        (index,) = self.sql.rows(_ENCODER, index_id)
        reference = self._gallery(self.references[str(index["encoder"])])
        mine, theirs = (f"vectors.g_{one.hex}" for one in (index_id, reference["active_index_id"]))
        statement = (
            "SELECT (SELECT active_index_id FROM galleries WHERE id = %s) AS active_index_id, "  # noqa: S608
            "i.external_id, i.sha256, v.image_id IS NOT NULL AS has_vector, "
            "coalesce(-(v.vector <#> w.vector) >= %s, false) AS is_right "
            f"FROM (SELECT * FROM images WHERE gallery_id = %s) AS i FULL JOIN {mine} AS v ON v.image_id = i.id "
            "LEFT JOIN (SELECT DISTINCT ON (sha256) id, sha256 FROM images WHERE gallery_id = %s) AS j "
            f"ON j.sha256 = i.sha256 LEFT JOIN {theirs} AS w ON w.image_id = j.id"
        )
        return self.sql.rows(statement, gallery["id"], SAME, gallery["id"], reference["id"])

    def _seen(self, index_id: str, rows: list[dict[str, object]], before: Contents, after: Contents) -> Seen:
        missing = stale = 0
        there = set()
        for row in rows:
            name, sha256 = row["external_id"], row["sha256"]
            there.add(name)
            if name is None:  # a vector of an image that is gone
                stale += 1
                continue
            allowed = before.get(str(name), frozenset()) | after.get(str(name), frozenset())
            missing += not row["has_vector"]
            stale += sha256 not in allowed or bool(row["has_vector"] and not row["is_right"])
        wanted = {name for name, allowed in before.items() if None not in allowed | after[name]}
        return Seen(index_id, missing + len(wanted - there), stale)
