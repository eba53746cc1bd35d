"""Jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, Text, bindparam, delete, func, literal, null, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert

from core.models import DEFERRED, Counters, Job, JobKind, JobStage, JobState, Outcome, Page, Phase, Queue, WaitingFor
from core.ports import JobQuery
from storage.arrays import any_id
from storage.repositories.deletions import delete_some
from storage.repositories.paging import id_key, page_of
from storage.tables import JobRow
from storage.tables.jobs import TERMINAL_STATES
from storage.text import storable
from storage.transaction import Transaction

_ADD = insert(JobRow)

_COUNT = text("""
    UPDATE jobs SET
        created = created + :created, updated = updated + :updated, unchanged = unchanged + :unchanged,
        deleted = deleted + :deleted, failed = failed + :failed, canceled = canceled + :canceled,
        version = version + 1
    WHERE id = :job_id
""")

_FILE_DELIVERY = text("""
    INSERT INTO webhook_deliveries (job_id, state, due_at) VALUES (:job_id, 'pending', now())
    ON CONFLICT (job_id) DO NOTHING
""")

_STRIP_ITEMS = delete_some("job_items", key=("id",), where="job_id = :job_id", order_by="id")
_STRIP_UNITS = delete_some("work_units", key=("id",), where="job_id = :job_id", order_by="id")

_OPEN_IMPORT_BEFORE = text("""
    SELECT EXISTS (
        SELECT FROM jobs
        WHERE gallery_id = :gallery_id AND finished_at IS NULL AND kind = 'import' AND id <> :besides
            AND coalesce(CAST(params ->> 'rank' AS uuid), id) < :rank)
""")

_MIRROR_AFTER = text("""
    SELECT EXISTS (
        SELECT FROM jobs
        JOIN galleries ON galleries.id = :gallery_id
        WHERE jobs.tenant_id = galleries.tenant_id AND kind = 'import' AND jobs.id > :rank
            AND gallery_id = :gallery_id AND params ->> 'mode' = 'mirror'
            AND state NOT IN ('failed', 'cancelling', 'canceled') AND error IS NULL)
""")

_OPEN_RETRY = text("""
    SELECT retry.id FROM jobs
    JOIN jobs AS retry ON retry.gallery_id = jobs.gallery_id
    WHERE jobs.id = :job_id AND retry.finished_at IS NULL AND retry.params ->> 'retry_of' = CAST(:job_id AS text)
    ORDER BY retry.id LIMIT 1
""")

# A poll is this one statement, so nobody's own row is asked for twice. Looking for what is put off reads all that is
# pending, so it is done only where nothing is due.
_WATCHED = text("""
    SELECT jobs.*, coalesce(due.queue, put_off.queue) AS queue, due.not_before AS since, put_off.not_before AS until, (
            SELECT count(*) FROM workers
            WHERE coalesce(due.queue, put_off.queue) = ANY (queues)
                AND beat_at > clock_timestamp() - CAST(:alive_within AS interval)) AS consumers
    FROM jobs CROSS JOIN LATERAL (
        SELECT jobs.finished_at IS NULL
            AND NOT EXISTS (SELECT FROM work_units WHERE job_id = jobs.id AND state = 'running') AS idle) AS units
    LEFT JOIN LATERAL (
        SELECT queue, not_before FROM work_units
        WHERE idle AND job_id = jobs.id AND state = 'pending' AND not_before <= now()
        ORDER BY work_units.id LIMIT 1) AS due ON true
    LEFT JOIN LATERAL (
        SELECT queue, not_before FROM work_units
        WHERE idle AND due.queue IS NULL AND job_id = jobs.id AND state = 'pending' AND not_before < :deferred
        ORDER BY not_before LIMIT 1) AS put_off ON true
    WHERE jobs.id = :job_id AND tenant_id = :tenant_id
""")

_PHASES = text("SELECT id, state, stage FROM jobs WHERE id = ANY (:job_ids)")


class SqlJobs:
    """Implements `core.ports.Jobs`. Counting past the total, or after the end, violates a CHECK and rolls back."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, job: Job) -> None:
        """Insert."""
        self._transaction.execute(_ADD, _values(job))

    def add_scheduled(self, job: Job, tick: datetime) -> bool:
        """Insert as the one job of its gallery's tick; False, and nothing is written, when there is one already."""
        statement = (
            insert(JobRow)
            .values(tick=tick, **_values(job))
            .on_conflict_do_nothing(
                index_elements=[JobRow.gallery_id, JobRow.tick], index_where=JobRow.tick.is_not(None)
            )
            .returning(JobRow.id)
        )
        return self._transaction.execute(statement).one_or_none() is not None

    def open_scheduled(self, gallery_id: UUID) -> UUID | None:
        """The job of an earlier tick of the gallery that has not ended."""
        statement = select(JobRow.id).where(
            JobRow.gallery_id == gallery_id, JobRow.finished_at.is_(None), JobRow.tick.is_not(None)
        )
        return self._transaction.execute(statement.order_by(JobRow.id).limit(1)).scalar_one_or_none()

    def get(self, tenant_id: UUID, job_id: UUID) -> Job | None:
        """The tenant's job."""
        row = self._transaction.execute(_GET, {"tenant_id": tenant_id, "job_id": job_id}).one_or_none()
        return None if row is None else _job(row)

    def phases(self, job_ids: Sequence[UUID]) -> Mapping[UUID, Phase]:
        """State and stage of each job, of any tenant; without those that do not exist."""
        rows = self._transaction.execute(_PHASES, {"job_ids": list(job_ids)})
        return {row.id: (JobState(row.state), JobStage(row.stage)) for row in rows}

    def watched(
        self, tenant_id: UUID, job_id: UUID, *, alive_within: timedelta
    ) -> tuple[Job, WaitingFor | None] | None:
        """The tenant's job, and what it waits for when none of its units runs: the oldest due, or else the next."""
        asked = {"tenant_id": tenant_id, "job_id": job_id, "alive_within": alive_within, "deferred": DEFERRED}
        row = self._transaction.execute(_WATCHED, asked).one_or_none()
        if row is None:
            return None
        waiting = row.queue and WaitingFor(Queue(row.queue), row.consumers, row.since, row.until)
        return _job(row), waiting

    def lock(self, job_id: UUID) -> Job | None:
        """The job, its row locked until the transaction ends."""
        # Without the key, which nobody changes: rows that refer to the job may be added meanwhile.
        statement = _select().where(JobRow.id == job_id).with_for_update(key_share=True)
        row = self._transaction.execute(statement).one_or_none()
        return None if row is None else _job(row)

    def page(self, tenant_id: UUID, query: JobQuery, *, size: int, after: str | None) -> Page[Job]:
        """Newest first, keyset."""
        if query.gallery_name is not None and not storable(query.gallery_name):
            return Page(items=(), next_key=None)
        statement = _select().where(JobRow.tenant_id == tenant_id, *_matches(query))
        if after is not None:
            statement = statement.where(JobRow.id < id_key(after))
        rows = self._transaction.execute(statement.order_by(JobRow.id.desc()).limit(size + 1)).all()
        return page_of([_job(row) for row in rows], size, lambda job: str(job.id))

    def start(self, job_id: UUID) -> None:
        """Queued -> running with `started_at`; no effect in any other state."""
        started = {"state": JobState.RUNNING.value, "started_at": func.now()}
        self._write(job_id, started, JobRow.state == JobState.QUEUED.value)

    def count(self, job_id: UUID, counts: Mapping[Outcome, int]) -> None:
        """Add outcomes to the counters. Locks the row until the transaction ends, so call it late."""
        added = {outcome.value: counts.get(outcome, 0) for outcome in Outcome}
        if any(added.values()):
            self._transaction.execute(_COUNT, {"job_id": job_id, **added})

    def set_total(self, job_id: UUID, total: int) -> None:
        """Set once, when planning ends."""
        self._write(job_id, {"total": total}, JobRow.total.is_(None))

    def grow_total(self, job_id: UUID, *, by: int) -> None:
        """Add items that were not known of when planning ended."""
        self._write(job_id, {"total": JobRow.total + by})

    def set_stage(self, job_id: UUID, stage: JobStage) -> None:
        """Write the stage if it differs."""
        self._write(job_id, {"stage": stage.value}, JobRow.stage != stage.value)

    def set_result(self, job_id: UUID, result: dict[str, Any], *, warnings: Sequence[str] = ()) -> None:
        """Replace the result, and append warnings."""
        appended = func.array_cat(JobRow.warnings, literal(list(warnings), ARRAY(Text)))
        self._write(job_id, {"result": result, "warnings": appended})

    def set_deadline(self, job_id: UUID, deadline_at: datetime | None) -> None:
        """When the reconciler must end the job with what it has."""
        self._write(job_id, {"deadline_at": deadline_at})

    def set_state(self, job_id: UUID, state: JobState, *, error: dict[str, Any] | None = None) -> None:
        """Write a state that `core.jobs` allowed.

        A terminal one sets `finished_at`, drops the deadline, and counts what is left as canceled (an unknown total
        becomes what was counted). The job is then kept for its whole time, however long it ran, and the delivery of
        its webhook is filed.
        """
        values: dict[str, Any] = {"state": state.value}
        if error is not None:
            values["error"] = error
        if state in TERMINAL_STATES:
            total = func.coalesce(JobRow.total, _DONE)
            values |= {
                "finished_at": func.coalesce(JobRow.finished_at, func.now()),
                "deadline_at": null(),
                "expires_at": func.now() + (JobRow.expires_at - JobRow.created_at),
                "total": total,
                "canceled": JobRow.canceled + total - _DONE,
            }
        statement = update(JobRow).where(JobRow.id == job_id).values(values | {"version": JobRow.version + 1})
        written = self._transaction.execute(statement.returning(JobRow.callback_url)).one_or_none()
        if state in TERMINAL_STATES and written is not None and written.callback_url is not None:
            self._transaction.execute(_FILE_DELIVERY, {"job_id": job_id})

    def overdue(self, now: datetime, *, limit: int) -> tuple[UUID, ...]:
        """Running jobs whose deadline has passed, the most overdue first."""
        statement = (
            select(JobRow.id)
            .where(JobRow.deadline_at <= now, JobRow.state == JobState.RUNNING.value)
            .order_by(JobRow.deadline_at)
            .limit(limit)
        )
        return tuple(self._transaction.execute(statement).scalars())

    def expired(self, now: datetime, *, limit: int) -> tuple[Job, ...]:
        """Terminal jobs past `expires_at`, the oldest first."""
        return self._past(now, limit, JobRow.finished_at.is_not(None))

    def unanswered(self, now: datetime, *, limit: int) -> tuple[Job, ...]:
        """Queries past `expires_at` that have not ended, the oldest first."""
        return self._past(now, limit, JobRow.finished_at.is_(None), JobRow.kind == JobKind.QUERY.value)

    def _past(self, now: datetime, limit: int, *conditions: ColumnElement[bool]) -> tuple[Job, ...]:
        statement = _select().where(JobRow.expires_at <= now, *conditions).order_by(JobRow.expires_at).limit(limit)
        return tuple(_job(row) for row in self._transaction.execute(statement))

    def cancelling(self, *, limit: int) -> tuple[UUID, ...]:
        """Jobs in state `cancelling`."""
        statement = select(JobRow.id).where(text("state = 'cancelling'")).order_by(JobRow.id).limit(limit)
        return tuple(self._transaction.execute(statement).scalars())

    def keeping_files(self, job_ids: Sequence[UUID], *, queries_since: datetime) -> frozenset[UUID]:
        """Those of the ids that exist, but of queries only those made since that moment."""
        keeping = (JobRow.kind != JobKind.QUERY.value) | (JobRow.created_at > queries_since)
        found = select(JobRow.id).where(JobRow.id == any_id(job_ids), keeping)
        return frozenset(self._transaction.execute(found).scalars())

    def strip(self, job_id: UUID, *, limit: int) -> int:
        """Delete up to `limit` of a finished job's items and units; returns how many. For jobs too large to remove."""
        parameters = {"job_id": job_id, "limit": limit}
        items = self._transaction.execute(_STRIP_ITEMS, parameters).rowcount
        return items + self._transaction.execute(_STRIP_UNITS, parameters | {"limit": limit - items}).rowcount

    def remove(self, job_ids: Sequence[UUID]) -> None:
        """Delete jobs with their units, items and candidates."""
        self._transaction.execute(delete(JobRow).where(JobRow.id == any_id(job_ids)))

    def has_open_import_before(self, gallery_id: UUID, rank: UUID, *, besides: UUID) -> bool:
        """Whether an import of the gallery of a lower rank (`core.jobs.rank`) has not ended."""
        asked = {"gallery_id": gallery_id, "rank": rank, "besides": besides}
        return bool(self._transaction.execute(_OPEN_IMPORT_BEFORE, asked).scalar_one())

    def has_mirror_after(self, gallery_id: UUID, rank: UUID) -> bool:
        """Whether a mirror import of the gallery of a higher rank runs, or went through."""
        asked = {"gallery_id": gallery_id, "rank": rank}
        return bool(self._transaction.execute(_MIRROR_AFTER, asked).scalar_one())

    def open_reindex(self, gallery_id: UUID) -> Job | None:
        """The re-index of the gallery that has not ended."""
        statement = _select().where(
            JobRow.gallery_id == gallery_id, JobRow.finished_at.is_(None), JobRow.kind == JobKind.REINDEX.value
        )
        row = self._transaction.execute(statement.order_by(JobRow.id).limit(1)).one_or_none()
        return None if row is None else _job(row)

    def open_retry_of(self, job_id: UUID) -> UUID | None:
        """The retry of a job that has not ended."""
        found: UUID | None = self._transaction.execute(_OPEN_RETRY, {"job_id": job_id}).scalar_one_or_none()
        return found

    def keep_until(self, job_id: UUID, moment: datetime) -> None:
        """Put off the job's expiry, with that of its uploads, if it is earlier."""
        self._write(job_id, {"expires_at": moment}, JobRow.expires_at < moment)

    def active_ids(self, gallery_id: UUID) -> tuple[UUID, ...]:
        """Jobs of the gallery that are not terminal."""
        statement = (
            select(JobRow.id).where(JobRow.gallery_id == gallery_id, JobRow.finished_at.is_(None)).order_by(JobRow.id)
        )
        return tuple(self._transaction.execute(statement).scalars())

    def _write(self, job_id: UUID, values: dict[str, Any], *conditions: ColumnElement[bool]) -> None:
        statement = update(JobRow).where(JobRow.id == job_id, *conditions)
        self._transaction.execute(statement.values(values | {"version": JobRow.version + 1}))


_DONE = JobRow.created + JobRow.updated + JobRow.unchanged + JobRow.deleted + JobRow.failed + JobRow.canceled


def _select() -> Select[*tuple[Any, ...]]:
    return select(
        JobRow.id,
        JobRow.tenant_id,
        JobRow.kind,
        JobRow.state,
        JobRow.stage,
        JobRow.gallery_id,
        JobRow.gallery_name,
        JobRow.params,
        JobRow.total,
        JobRow.created,
        JobRow.updated,
        JobRow.unchanged,
        JobRow.deleted,
        JobRow.failed,
        JobRow.canceled,
        JobRow.result,
        JobRow.error,
        JobRow.warnings,
        JobRow.version,
        JobRow.created_at,
        JobRow.started_at,
        JobRow.finished_at,
        JobRow.expires_at,
        JobRow.deadline_at,
        JobRow.callback_url,
    )


# Every poll runs it, so it is put together once.
_GET = _select().where(JobRow.id == bindparam("job_id"), JobRow.tenant_id == bindparam("tenant_id"))


def _job(row: Row[*tuple[Any, ...]]) -> Job:
    return Job(
        id=row.id,
        tenant_id=row.tenant_id,
        kind=JobKind(row.kind),
        state=JobState(row.state),
        stage=JobStage(row.stage),
        gallery_id=row.gallery_id,
        gallery_name=row.gallery_name,
        params=row.params,
        counters=_counters(row),
        result=row.result,
        error=row.error,
        warnings=tuple(row.warnings),
        version=row.version,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        expires_at=row.expires_at,
        deadline_at=row.deadline_at,
        callback_url=row.callback_url,
    )


def _counters(row: Row[*tuple[Any, ...]]) -> Counters:
    return Counters(
        total=row.total,
        created=row.created,
        updated=row.updated,
        unchanged=row.unchanged,
        deleted=row.deleted,
        failed=row.failed,
        canceled=row.canceled,
    )


def _values(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "tenant_id": job.tenant_id,
        "kind": job.kind.value,
        "state": job.state.value,
        "stage": job.stage.value,
        "gallery_id": job.gallery_id,
        "gallery_name": job.gallery_name,
        "params": job.params,
        **asdict(job.counters),
        "result": job.result,
        "error": job.error,
        "warnings": list(job.warnings),
        "version": job.version,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "expires_at": job.expires_at,
        "deadline_at": job.deadline_at,
        "callback_url": job.callback_url,
    }


def _matches(query: JobQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.state is not None:
        conditions.append(JobRow.state == query.state.value)
    if query.kind is not None:
        conditions.append(JobRow.kind == query.kind.value)
    if query.gallery_name is not None:
        conditions.append(JobRow.gallery_name == query.gallery_name)
    if query.created_after is not None:
        conditions.append(JobRow.created_at > query.created_after)
    return conditions
