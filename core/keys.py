"""Object keys. Every key starts with its tenant; pictures are addressed by content."""

from uuid import UUID


def blob_key(tenant_id: UUID, sha256: str) -> str:
    """Key of a picture."""
    return f"tenants/{tenant_id}/blobs/{sha256[:2]}/{sha256}"


def thumbnail_key(tenant_id: UUID, sha256: str) -> str:
    """Key of a picture's thumbnail (JPEG)."""
    return f"tenants/{tenant_id}/thumbnails/{sha256[:2]}/{sha256}"


def thumbnail_shelf(tenant_id: UUID, shelf: str) -> str:
    """Prefix of the thumbnails whose hash begins with two hex digits."""
    return f"tenants/{tenant_id}/thumbnails/{shelf}/"


def sha256_of_key(key: str) -> str:
    """The hash that a picture's or a thumbnail's key ends with."""
    return key.rpartition("/")[2]


def upload_key(tenant_id: UUID, job_id: UUID, number: int) -> str:
    """Key of the n-th file of an import."""
    return f"tenants/{tenant_id}/uploads/{job_id}/{number}"


def unpacked_key(tenant_id: UUID, job_id: UUID, number: int) -> str:
    """Key of what the n-th file of an import unpacks to; gone with the job's uploads."""
    return f"{job_prefix(tenant_id, job_id)}unpacked/{number}"


def batch_part_key(tenant_id: UUID, job_id: UUID, part_id: UUID) -> str:
    """Key of some of a batch's answers; gone with the job's uploads."""
    return f"{job_prefix(tenant_id, job_id)}parts/{part_id}"


def batch_result_key(tenant_id: UUID, job_id: UUID) -> str:
    """Key of all answers of a batch, in order; gone with the job's uploads."""
    return f"{job_prefix(tenant_id, job_id)}results.ndjson"


def uploads_prefix(tenant_id: UUID) -> str:
    """Prefix of everything uploaded with requests."""
    return f"tenants/{tenant_id}/uploads/"


def job_of_upload(key: str) -> UUID | None:
    """The job that an upload's key names; None when it names none."""
    try:
        return UUID(key.split("/")[3])
    except (IndexError, ValueError):
        return None


def export_key(tenant_id: UUID, job_id: UUID, part: int) -> str:
    """Key of the n-th file of an export."""
    return f"{export_prefix(tenant_id, job_id)}part-{part:05d}.parquet"


def export_prefix(tenant_id: UUID, job_id: UUID) -> str:
    """Prefix of the files of an export."""
    return f"tenants/{tenant_id}/exports/{job_id}/"


def job_prefix(tenant_id: UUID, job_id: UUID) -> str:
    """Prefix of everything uploaded for one job."""
    return f"tenants/{tenant_id}/uploads/{job_id}/"


def session_key(tenant_id: UUID, session_id: UUID, number: int) -> str:
    """Key of the n-th file that a client puts straight into the bucket."""
    return f"tenants/{tenant_id}/sessions/{session_id}/{number}"


def session_prefix(key: str) -> str:
    """Prefix of everything in the session of such a key."""
    return key.rpartition("/")[0] + "/"
