"""Importing again what failed, from the files as they were sent."""

import gzip
import io
import tarfile
import zipfile
from datetime import timedelta
from hashlib import sha256

import pytest
from PIL import Image

from core import jobs
from core.errors import ConflictError
from core.keys import blob_key, job_prefix
from core.models import JobKind, JobState, Queue, UnitKind
from core.pictures import validate
from tests.integration.core.importing import Shop, jsonl, picture
from tests.integration.storage import builders

pytestmark = pytest.mark.integration

RED, GREEN = picture("red"), picture("green")
BROKEN = b"no picture at all"


def zipped(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return target.getvalue()


FILES = {"a.png": RED, "b.png": GREEN, "bad-1.png": BROKEN, "bad-2.png": RED[:50]}
ROWS = jsonl(*({"external_id": name, "image": name, "shelf": 3} for name in FILES), {"external_id": "no image"})
WAYS = {
    "pictures": FILES,
    "zip": {"c.zip": zipped(FILES)},
    "tar": {"c.tar": tarred(FILES)},
    "tar.gz": {"c.tar.gz": gzip.compress(tarred(FILES))},
    "manifest in a tar.gz": {"c.tgz": gzip.compress(tarred({**FILES, "m.jsonl": ROWS}))},
    "manifest beside a zip": {"m.jsonl": ROWS, "c.zip": zipped(FILES)},
}


@pytest.mark.parametrize("files", WAYS.values(), ids=WAYS)
def test_failed_items_are_imported_again_from_every_source(
    shop: Shop, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed goes through once the service has learnt to read it."""
    first = shop.imported(files)
    unusable = "m.jsonl" in files or "c.tgz" in files
    assert first.state is JobState.PARTIALLY_SUCCEEDED
    assert (first.counters.created, first.counters.failed) == (2, 2 + unusable)
    monkeypatch.setattr("core.ingest.validate", lambda _, *rest, **more: validate(GREEN, *rest, **more))
    monkeypatch.setattr("core.embedder.decode", lambda *_, **__: GREEN_PICTURE)
    retry = shop.retry(first.id)
    assert retry.id != first.id
    job = shop.ended(retry.id)
    assert (job.counters.total, job.counters.created, job.counters.failed) == (2 + unusable, 2, unusable)
    assert set(shop.contents()) == set(FILES)
    if unusable:
        assert shop.items(job.id) == {"no image": ("failed", "missing_image")}
        with shop.ctx.uow() as uow:
            image = uow.images.find(shop.gallery.id, "bad-1.png")
        assert image is not None
        assert image.attributes == {"shelf": 3}


GREEN_PICTURE = Image.new("RGB", (8, 8), "green")


def test_a_retry_that_fails_again_can_be_retried(shop: Shop) -> None:
    first = shop.imported({"a.png": RED, "bad.png": BROKEN})
    second = shop.ended(shop.retry(first.id).id)
    assert (second.state, second.counters.total, second.counters.failed) == (JobState.FAILED, 1, 1)
    third = shop.ended(shop.retry(second.id).id)
    assert (third.state, third.counters.failed) == (JobState.FAILED, 1)
    assert shop.items(third.id) == {"bad.png": ("failed", "not_an_image")}


def test_while_a_retry_is_open_it_is_the_answer(shop: Shop) -> None:
    first = shop.imported({"a.png": RED, "bad.png": BROKEN})
    retry = shop.retry(first.id)
    assert shop.retry(first.id).id == retry.id
    shop.ended(retry.id)
    assert shop.retry(first.id).id != retry.id


def test_a_job_is_not_retried_while_it_runs_nor_when_nothing_can_change(shop: Shop) -> None:
    running = shop.submit({"a.png": RED, "bad.png": BROKEN})
    with pytest.raises(ConflictError, match="still runs"):
        shop.retry(running)
    shop.ended(running)
    fine = shop.imported({"a.png": RED})
    with pytest.raises(ConflictError, match="could change"):
        shop.retry(fine.id)
    rows_only = shop.imported({"m.jsonl": jsonl({"external_id": "x", "image": "nowhere.png"}), "a.png": RED})
    assert rows_only.counters.failed == 1
    with pytest.raises(ConflictError, match="could change"):
        shop.retry(rows_only.id)


def test_only_imports_are_retried(shop: Shop) -> None:
    made = builders.add_job(shop.ctx.uow, shop.principal.tenant_id, kind=JobKind.DELETE)
    with pytest.raises(ConflictError, match="Only imports"):
        shop.retry(made.id)


def test_a_retry_never_overwrites_what_was_imported_since(shop: Shop) -> None:
    first = shop.imported({"a.png": BROKEN, "b.png": BROKEN})
    shop.imported({"a.png": GREEN})
    retry = shop.ended(shop.retry(first.id).id)
    assert shop.items(retry.id) == {"a.png": ("unchanged", "superseded"), "b.png": ("failed", "not_an_image")}
    assert shop.contents() == {"a.png": GREEN}


def test_after_a_newer_mirror_an_older_import_is_not_retried(shop: Shop) -> None:
    first = shop.imported({"a.png": RED, "bad.png": BROKEN})
    shop.imported({"a.png": RED}, mode="mirror")
    with pytest.raises(ConflictError, match="newer mirror"):
        shop.retry(first.id)


def test_what_failed_while_it_was_embedded_is_imported_again(shop: Shop) -> None:
    job_id = shop.submit({"a.png": RED})
    shop.run_one()
    shop.run_one()
    with shop.ctx.uow() as uow:
        assert uow.units.open_kinds(job_id) == {UnitKind.EMBED}
    key = blob_key(shop.principal.tenant_id, sha256(RED).hexdigest())
    shop.ctx.objects.delete([key])
    first = shop.ended(job_id)
    assert shop.items(job_id) == {"a.png": ("failed", "blob_missing")}
    shop.ctx.objects.put(key, RED, media_type="image/png")
    assert shop.ended(shop.retry(first.id).id).counters.created == 1


def test_the_uploads_are_kept_for_as_long_as_a_retry_may_need_them(shop: Shop) -> None:
    first = shop.imported({"a.tgz": gzip.compress(tarred(FILES))})
    retry = shop.retry(first.id)
    shop.ended(retry.id)
    assert shop.job(first.id).expires_at > shop.job(retry.id).expires_at
    kept = list(shop.ctx.objects.keys(job_prefix(first.tenant_id, first.id)))
    assert len(kept) == 2  # as it was sent, and unpacked


@pytest.mark.parametrize(
    "archive",
    [b"nonsense", gzip.compress(b"nonsense"), gzip.compress(tarred(FILES))[:-20], gzip.compress(tarred(FILES)[:700])],
    ids=["no gzip", "no tar", "gzip cut", "tar cut"],
)
def test_a_damaged_archive_fails_the_job_and_a_mirror_removes_nothing(shop: Shop, archive: bytes) -> None:
    shop.imported({"a.png": RED})
    job = shop.imported({"c.tar.gz": archive}, mode="mirror", share=1.0)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error["code"] == "invalid_input"
    assert set(shop.contents()) == {"a.png"}


def test_a_plan_that_was_interrupted_after_unpacking_starts_again(shop: Shop) -> None:
    job_id = shop.submit({"c.tgz": gzip.compress(tarred(FILES))})
    handler = shop.handlers[UnitKind.PLAN]
    with shop.ctx.uow() as uow:
        unit = uow.units.claim([Queue.INGEST], worker="dying", lease=timedelta(seconds=-1))
        assert unit is not None
        uow.commit()
    handler.open(unit, shop.job(job_id)).compute(0, 1)  # and then the worker dies
    with shop.ctx.uow() as uow:
        uow.units.free_expired()
        uow.commit()
    job = shop.ended(job_id)
    assert (job.counters.total, job.counters.created, job.counters.failed) == (4, 2, 2)


def test_cancelling_leaves_nothing_to_retry_but_what_failed(shop: Shop) -> None:
    job_id = shop.submit({"a.png": BROKEN, "b.png": RED})
    jobs.cancel(shop.ctx, shop.principal, job_id)
    assert shop.ended(job_id).state is JobState.CANCELED
    with pytest.raises(ConflictError):
        shop.retry(job_id)
