"""Submitting an import: files into the object store, then a job that a worker plans."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO
from uuid import UUID

from core import galleries, jobs
from core.context import Context
from core.errors import FieldError, InvalidInputError
from core.ids import new_id
from core.keys import upload_key
from core.models import Job, JobKind, JobStage, NewUnit, Principal, Queue, UnitKind

UPSERT = "upsert"
MIRROR = "mirror"
MODES = (UPSERT, MIRROR)


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file of the request, not yet stored."""

    filename: str
    stream: BinaryIO
    media_type: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of an import in the object store."""

    filename: str
    key: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class NewImport:
    """What a client asks for. `max_delete_share` (0..1) goes with mode `mirror`; None: what the operator set."""

    gallery: str
    files: Sequence[UploadedFile]
    mode: str = UPSERT
    max_delete_share: float | None = None
    callback_url: str | None = None


def submit(ctx: Context, principal: Principal, new: NewImport) -> Job:
    """Store the files and queue the import. Nothing is visible until the job row commits."""
    mode = _mode_params(ctx, new)
    if not new.files:
        raise InvalidInputError(
            "Send at least one `file`: pictures, a ZIP or tar archive, a manifest (.csv, .jsonl) beside its pictures."
        )
    jobs.check_callback(new.callback_url)
    gallery = galleries.get(ctx, principal, new.gallery)
    job_id = new_id()
    stored = [_store(ctx, principal, job_id, number, file) for number, file in enumerate(new.files)]
    spec = jobs.JobSpec(
        kind=JobKind.IMPORT,
        stage=JobStage.PLANNING,
        gallery=gallery,
        params={**mode, "files": [asdict(file) for file in stored]},
        callback_url=new.callback_url,
    )
    job = jobs.new_job(ctx, principal, spec, job_id=job_id)
    return jobs.submit(ctx, job, [plan_unit(job)])


def _mode_params(ctx: Context, new: NewImport) -> dict[str, Any]:
    share = new.max_delete_share
    if new.mode not in MODES:
        raise _invalid("mode", f"is one of: {', '.join(MODES)}")
    if new.mode != MIRROR:
        if share is not None:
            raise _invalid("max_delete_share", "goes with mode=mirror only")
        return {"mode": new.mode}
    if share is not None and not 0 <= share <= 1:
        raise _invalid("max_delete_share", "is a share from 0 to 1, such as 0.2")
    return {"mode": new.mode, "max_delete_share": ctx.settings.max_delete_share if share is None else share}


def _invalid(field: str, problem: str) -> InvalidInputError:
    return InvalidInputError(f"`{field}` {problem}.", errors=(FieldError(f"/{field}", problem),))


def _store(ctx: Context, principal: Principal, job_id: UUID, number: int, file: UploadedFile) -> StoredFile:
    key = upload_key(principal.tenant_id, job_id, number)
    size_bytes = ctx.objects.put_stream(key, file.stream, media_type=file.media_type)
    return StoredFile(filename=file.filename, key=key, size_bytes=size_bytes)


def plan_unit(job: Job) -> NewUnit:
    """The unit that an import begins with."""
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.PLAN,
        queue=Queue.INGEST,
        size=1,
        payload={"files": job.params["files"]},
    )
