"""The nearest vectors of a generation, and which of three plans finds them. See docs/adr/0022.

All rows are compared where there are few. With a filter that keeps few, those are found first and compared. What is
left goes through HNSW, with an iterative scan where a filter makes it look at more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CompoundSelect,
    FromClause,
    Label,
    Row,
    ScalarSelect,
    Select,
    Subquery,
    any_,
    func,
    literal,
    select,
    tablesample,
    text,
)

from core.filters import Filter
from core.models import Vector
from storage.filters import predicate
from storage.halfvec import negative_inner_product
from storage.numbers import images_in, ranges
from storage.tables import ImageRow, IndexRow
from storage.transaction import Transaction
from storage.vector_tables import Shape, shape, vector_table

Rows = Sequence[Row[Any]]
Ids = Select[UUID] | CompoundSelect[UUID]

_MAX_EF_SEARCH = 1000  # pgvector's own bound
_VISIT_COST = 25.0  # of a row that the iterative scan visits, against that of one found by its id and compared
_LEAST_SAMPLE = 200
_PASSING_OF_SAMPLE = 20  # so many of the sample pass where both plans cost the same: enough to tell which is cheaper
_WIDENING = 2  # times the expected visits: what passes lies deeper in the graph, where a narrow search misses more
_PATIENCE = 4  # times as many visits as expected, before a scan gives up on what is near the probe

_HNSW = text("""
    SELECT set_config('hnsw.ef_search', :ef_search, true), set_config('hnsw.max_scan_tuples', :visits, true),
        set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.scan_mem_multiplier', '4', true)
""")


@dataclass(frozen=True, slots=True)
class Probe:
    """What is searched for: the `limit` images of a generation nearest to `vector` ([d], unit length) that pass."""

    index_id: UUID
    vector: Vector
    limit: int
    where: Filter | None


class VectorSearch:
    """Runs searches within one transaction. Rows have id, external_id and distance (the negative inner product)."""

    def __init__(self, transaction: Transaction, *, ef_search: int, exact_below: int) -> None:
        self._transaction = transaction
        self._ef_search = ef_search
        self._exact_below = exact_below

    def nearest(self, probe: Probe, *, exact: bool) -> Rows:
        """In no order. Fewer than `limit` only where no more pass the filter; none without a table."""
        known = shape(self._transaction, probe.index_id)
        if known is None:
            return ()
        # So many rows that pass are compared in the time that HNSW would take to find enough of them.
        few = round(sqrt(_VISIT_COST * probe.limit * known.rows))
        narrowed = self._narrowed(probe, few)
        if narrowed is None and not exact and known.has_hnsw and known.rows > self._exact_below:
            rows = self._near(probe, known, few)
            if len(rows) == probe.limit:
                return rows
        return self._scan(probe, narrowed)

    def _near(self, probe: Probe, known: Shape, few: int) -> Rows:
        """Approximately, where that is the cheaper plan; else nothing."""
        if probe.where is None:
            self._prepare(probe, ef_search=self._ef_search, visits=known.rows)
            return self._transaction.execute(_images(_first(probe))).all()
        passing = self._passing(probe, known.rows, sample=max(_LEAST_SAMPLE, _PASSING_OF_SAMPLE * known.rows / few))
        if passing <= few:
            return ()
        expected = round(probe.limit * known.rows / passing)
        self._prepare(probe, ef_search=max(self._ef_search, _WIDENING * expected), visits=_PATIENCE * expected)
        return self._transaction.execute(_passing_near(probe)).all()

    def _prepare(self, probe: Probe, *, ef_search: int, visits: int) -> None:
        width = min(max(ef_search, probe.limit), _MAX_EF_SEARCH)
        self._transaction.execute(_HNSW, {"ef_search": str(width), "visits": str(visits)})

    def _passing(self, probe: Probe, rows: int, *, sample: float) -> float:
        """About how many of `rows` pass, judged by those on some pages: the same ones each time."""
        percent = min(100.0, 100.0 * sample / rows)
        drawn = tablesample(vector_table(probe.index_id), func.system(percent), seed=literal(0), name="drawn")
        counted = select(func.count().filter(predicate(probe.where)), func.count()).join_from(
            drawn, ImageRow, ImageRow.id == drawn.c.image_id
        )
        passing, seen = self._transaction.execute(counted).one()
        return float(rows * passing / seen) if seen else 0.0

    def _scan(self, probe: Probe, narrowed: Ids | None) -> Rows:
        if probe.where is None:
            rows = self._transaction.execute(_images(_first(probe, indexed=False))).all()
            if len(rows) == probe.limit:
                return rows
        ids = _passing(probe).with_only_columns(ImageRow.id) if narrowed is None else narrowed
        return self._transaction.execute(_compared(probe, ids)).all()

    def _narrowed(self, probe: Probe, few: int) -> Ids | None:
        """What the index over numbers finds for a range, which is all that passes and more; None if none finds few."""
        gallery_id = _gallery_id(probe)
        for numbers in ranges(probe.where):
            found = images_in(numbers, gallery_id)
            counted = select(func.count()).select_from(found.limit(few + 1).subquery())
            if self._transaction.execute(counted).scalar_one() <= few:
                return found
        return None


def _first(probe: Probe, *, indexed: bool = True) -> Subquery:
    """The nearest of the whole table. The join with images may wait until these are known."""
    stored = vector_table(probe.index_id)
    distance = _distance(stored, probe.vector, indexed=indexed)
    order = (distance,) if indexed else (distance, stored.c.image_id)
    return select(stored.c.image_id, distance).order_by(*order).limit(probe.limit).subquery()


def _passing_near(probe: Probe) -> Select[*tuple[Any, ...]]:
    """Along HNSW, with a look at each image whether it passes, until enough do."""
    stored = vector_table(probe.index_id)
    distance = _distance(stored, probe.vector, indexed=True)
    passing = _passing(probe).subquery()
    return (
        select(passing.c.id, passing.c.external_id, distance)
        .join_from(passing, stored, stored.c.image_id == passing.c.id)
        .order_by(distance)
        .limit(probe.limit)
    )


def _compared(probe: Probe, ids: Ids) -> Select[*tuple[Any, ...]]:
    """All of `ids` by distance, whatever the planner guesses about them, until enough pass: images are read last."""
    stored = vector_table(probe.index_id)
    distance = _distance(stored, probe.vector, indexed=False)
    # As a sorted array, each page of the index is read once, not once for each image.
    among = stored.c.image_id == any_(func.array(ids.scalar_subquery()))
    near = select(stored.c.image_id, distance).where(among).order_by(distance, stored.c.image_id).subquery("near")
    passing = _passing(probe).add_columns(near.c.distance).join(near, near.c.image_id == ImageRow.id)
    return passing.order_by(near.c.distance, near.c.image_id).limit(probe.limit)


def _passing(probe: Probe) -> Select[*tuple[Any, ...]]:
    """Images of the generation's gallery that pass the filter."""
    found = select(ImageRow.id, ImageRow.external_id)
    return found.where(ImageRow.gallery_id == _gallery_id(probe), predicate(probe.where))


def _gallery_id(probe: Probe) -> ScalarSelect[UUID]:
    return select(IndexRow.gallery_id).where(IndexRow.id == probe.index_id).scalar_subquery()


def _images(found: FromClause) -> Select[*tuple[Any, ...]]:
    """What was found by vector, joined with the images, so that vectors of deleted ones never return."""
    return select(ImageRow.id, ImageRow.external_id, found.c.distance).join_from(
        found, ImageRow, ImageRow.id == found.c.image_id
    )


def _distance(stored: FromClause, vector: Vector, *, indexed: bool) -> Label[float]:
    product = negative_inner_product(stored.c.vector, vector)
    # No index knows the sum, so all rows are compared.
    return (product if indexed else product + 0).label("distance")
