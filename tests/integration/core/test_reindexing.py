"""Re-indexing on real Postgres and S3: the right set of vectors in every generation, whatever happens meanwhile."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, cast
from uuid import UUID

import numpy as np
import pytest
from PIL.Image import Image as Picture
from sqlalchemy import Engine, text

from cli.local.services import RunningServices
from core import galleries, generations, jobs
from core.context import Context, SystemClock
from core.embedder import Embedder
from core.errors import ConflictError
from core.generations import Activation
from core.keys import blob_key
from core.models import EncoderIdentity, IndexState, JobKind, JobState, UnitKind, Vectors
from core.ports import ObjectStore, UnitOfWork, UnitOfWorkFactory
from core.reindexing import ReembedHandler
from core.verification import VerifyHandler
from storage.objects import S3ObjectStore
from tests.integration.core.importing import picture
from tests.integration.core.reindexing import Darkness, Library, open_library
from tests.integration.core.test_durable import Bell
from tests.integration.storage import builders

pytestmark = pytest.mark.integration
COLOURS = ("red", "green", "blue", "yellow", "navy", "teal", "olive", "maroon", "gray", "silver", "purple", "orange")


@pytest.fixture
def library(
    uow_factory: UnitOfWorkFactory, engine: Engine, services: RunningServices, object_store: S3ObjectStore
) -> Iterator[Library]:
    small = {"unit_items": 4, "ingest_batch": 2, "embed_batch": 2, "embed_units": 2}
    settings = services.settings.model_copy(update=small)
    made = open_library(
        Context(uow_factory, object_store, Bell(), SystemClock(), settings), engine, builders.add_tenant(uow_factory)
    )
    made.shop.imported({f"{name}.png": picture(name) for name in COLOURS})
    yield made
    made.check()


def put(library: Library, name: str, colour: str) -> None:
    """One image, through all stages of an import."""
    job = library.shop.submit({f"{name}.png": picture(colour)})
    while library.shop.job(job).state not in jobs.TERMINAL:
        assert library.step()


def delete(library: Library, name: str) -> None:
    (image,) = (image for image in library.images() if image.external_id == f"{name}.png")
    galleries.delete_image(library.ctx, library.shop.principal, "summer", image.id, version=None)


@contextmanager
def meanwhile(library: Library, job_id: UUID) -> Iterator[None]:
    """Nobody works on the job; afterwards every generation is checked."""
    library.shop.hold(job_id)
    yield
    library.check()
    library.shop.let_go(job_id)


def test_a_new_generation_takes_over_complete_and_checked(library: Library) -> None:
    old = library.gallery().active_index_id
    job = library.shop.ended(library.reindex())
    assert job.state is JobState.SUCCEEDED
    assert (job.counters.total, job.counters.created) == (len(COLOURS), len(COLOURS))
    gallery = library.gallery()
    assert gallery.active_index_id != old
    assert gallery.encoder == "dark"
    assert library.states() == {"demo": ["standby"], "dark": ["active"]}
    assert job.result is not None
    assert job.result["index_id"] == str(gallery.active_index_id)
    assert job.result["self_check"]["vectors"] == len(COLOURS)
    assert job.result["self_check"]["recall"] == 1.0
    with library.ctx.uow() as uow:
        assert gallery.active_index_id is not None
        index = uow.indexes.get(gallery.active_index_id)
        assert index is not None
        assert index.identity == Darkness.identity
        assert index.mean is not None
        assert uow.concepts.load(index.id) is not None


def test_images_that_come_change_and_go_meanwhile_reach_it(library: Library) -> None:
    job = library.reindex()
    library.steps_until(job, UnitKind.REEMBED)
    with meanwhile(library, job):
        put(library, "red", "pink")
        put(library, "new", "white")
        delete(library, "green")
    assert library.step()
    with meanwhile(library, job):
        put(library, "red", "coral")
        put(library, "silver", "black")
        delete(library, "new")
    library.steps_until(job, UnitKind.VERIFY)
    with meanwhile(library, job):
        put(library, "late", "khaki")
        delete(library, "blue")
    ended = library.shop.ended(job)
    assert ended.state is JobState.SUCCEEDED
    assert library.states() == {"demo": ["standby"], "dark": ["active"]}
    assert {image.external_id for image in library.images()} == {
        f"{name}.png" for name in {*COLOURS, "late"} - {"green", "blue"}
    }


def test_real_workers_at_once_with_imports_and_deletes_leave_the_right_set(library: Library) -> None:
    job = library.reindex()
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            library.step()

    def change(number: int) -> None:
        colour = f"rgb({20 * number % 255}, {70 * number % 255}, {130 * number % 255})"
        library.shop.submit({f"{COLOURS[number % 6]}.png": picture(colour), f"n{number}.png": picture(colour)})
        if number % 4 == 3:
            delete(library, COLOURS[6 + number // 4])

    def finished() -> bool:
        with library.engine.connect() as connection:
            return not connection.execute(text("SELECT count(*) FROM jobs WHERE finished_at IS NULL")).scalar_one()

    with ThreadPoolExecutor(3) as pool:
        workers = [pool.submit(work) for _ in range(3)]
        try:
            for number in range(12):
                change(number)
                library.check()
            while not finished():
                library.check()
        finally:
            ended.set()
        for worker in workers:
            worker.result()
    assert library.shop.job(job).state is JobState.SUCCEEDED
    assert library.states() == {"demo": ["standby"], "dark": ["active"]}
    for index_id in (generation.index.id for generation in views(library)):
        assert library.pending(index_id) == 0


def views(library: Library) -> tuple[generations.IndexView, ...]:
    return generations.list_live(library.ctx, library.shop.principal, "summer")


class DeadWorkerError(BaseException):
    """Ends the worker where it stands, as `kill -9` does: nothing is handed back."""


class Deadly:
    """The bucket, whose n-th read ends the worker."""

    def __init__(self, store: ObjectStore, *, reads: int) -> None:
        self._store = store
        self._left = reads

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise DeadWorkerError
        return self._store.get(key, max_bytes=max_bytes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.parametrize("reads", [0, 1, 3])
def test_a_killed_worker_leaves_nothing_out_and_counts_nothing_twice(library: Library, reads: int) -> None:
    job = library.reindex()
    library.steps_until(job, UnitKind.REEMBED)
    mortal = replace(library.ctx, objects=cast("ObjectStore", Deadly(library.ctx.objects, reads=reads)))
    alive = library.shop.handlers[UnitKind.REEMBED]
    library.shop.handlers[UnitKind.REEMBED] = ReembedHandler(mortal, library.registry, Embedder(mortal))
    with pytest.raises(DeadWorkerError):
        library.shop.run()
    library.shop.handlers[UnitKind.REEMBED] = alive
    library.die()
    library.check()
    ended = library.shop.ended(job)
    assert (ended.state, ended.counters.created) == (JobState.SUCCEEDED, len(COLOURS))
    assert library.states()["dark"] == ["active"]


def test_a_worker_that_lost_its_lease_writes_nothing(library: Library) -> None:
    job = library.reindex()
    library.steps_until(job, UnitKind.REEMBED)
    library.registry.before = lambda: steal(library)
    assert library.step()
    library.registry.before = None
    assert library.shop.job(job).counters.created == 0
    library.die()
    assert library.shop.ended(job).counters.created == len(COLOURS)


def steal(library: Library) -> None:
    """Somebody else holds the running units now."""
    with library.engine.begin() as connection:
        connection.execute(text("UPDATE work_units SET lease_token = gen_random_uuid() WHERE state = 'running'"))


def test_one_reindex_at_a_time_and_a_cancelled_one_is_continued(library: Library) -> None:
    job = library.reindex()
    with pytest.raises(ConflictError, match=str(job)):
        library.reindex("demo")
    library.steps_until(job, UnitKind.REEMBED)
    assert library.step()
    jobs.cancel(library.ctx, library.shop.principal, job)
    done = library.shop.ended(job)
    assert (done.state, library.states()["dark"]) == (JobState.CANCELED, ["building"])
    put(library, "red", "pink")
    rest = library.shop.ended(library.reindex())
    assert rest.state is JobState.SUCCEEDED
    assert 0 < rest.counters.created <= len(COLOURS) - done.counters.created + 1
    assert library.states()["dark"] == ["active"]


def test_going_back_is_instant_and_complete(library: Library) -> None:
    old = library.gallery().active_index_id
    assert old is not None
    new = library.built()
    put(library, "red", "pink")
    put(library, "more", "white")
    delete(library, "green")
    library.activate(old)
    library.check()
    assert library.gallery().encoder == "demo"
    put(library, "red", "coral")
    library.activate(new)
    library.activate(new)
    assert library.states() == {"demo": ["standby"], "dark": ["active"]}


def test_a_manual_one_waits_to_be_activated(library: Library) -> None:
    old = library.gallery().active_index_id
    new = library.built(activate=Activation.MANUAL)
    assert library.gallery().active_index_id == old
    assert library.states()["dark"] == ["ready"]
    put(library, "red", "pink")
    assert library.pending(new) == 0
    library.activate(new)
    assert library.gallery().active_index_id == new


def test_a_half_made_one_cannot_answer(library: Library) -> None:
    job = library.reindex()
    library.steps_until(job, UnitKind.REEMBED)
    (half,) = (view.index.id for view in views(library) if view.index.state is IndexState.BUILDING)
    with pytest.raises(ConflictError, match="building cannot become active"):
        library.activate(half)
    assert library.shop.ended(job).state is JobState.SUCCEEDED


def test_imports_go_on_while_the_encoder_of_a_standby_is_out_of_order(library: Library) -> None:
    old = library.gallery().active_index_id
    assert old is not None
    library.built()
    library.registry.gone.add("demo")
    put(library, "red", "pink")
    put(library, "more", "white")
    assert library.pending(old) == 2
    library.check()
    with pytest.raises(ConflictError, match="vectors of 2 images"):
        library.activate(old)
    library.registry.gone.clear()
    assert generations.catch_up(library.ctx, lambda: False) == 1
    assert generations.catch_up(library.ctx, lambda: False) == 0
    library.shop.run()
    assert library.states() == {"demo": ["standby"], "dark": ["active"]}
    library.activate(old)


def test_a_batch_that_was_embedded_for_what_no_longer_answers_is_embedded_again(library: Library) -> None:
    new = library.built(activate=Activation.MANUAL)
    job = library.shop.submit({"red.png": picture("pink")})
    library.steps_until(job, UnitKind.EMBED)
    library.registry.gone.add("dark")

    def switch() -> None:
        library.registry.before = None
        library.registry.gone.clear()
        library.activate(new)

    library.registry.before = switch
    assert library.step()
    assert library.shop.job(job).counters.updated == 0
    while library.shop.job(job).state not in jobs.TERMINAL:
        library.step()
    assert library.shop.job(job).counters.updated == 1


class BlindToPink(Darkness):
    """Gives no finite vector for a pink picture."""

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        found = super().encode_images(pictures)
        pink = [each.getpixel((0, 0)) == (255, 192, 203) for each in pictures]
        found[pink] = np.nan
        return found


def test_a_picture_that_what_just_became_active_gives_no_vector_for_fails_alone(library: Library) -> None:
    library.registry.encoders["dark"] = BlindToPink()
    new = library.built(activate=Activation.MANUAL)
    job = library.shop.submit({"red.png": picture("pink"), "blue.png": picture("beige")})
    library.steps_until(job, UnitKind.EMBED)

    def switch() -> None:
        library.registry.before = None
        library.activate(new)

    library.registry.before = switch
    assert library.step()
    assert library.shop.items(job) == {"red.png": ("failed", "embedding_failed")}
    assert library.shop.job(job).counters.updated == 1
    assert library.pending(new) == 0


class Fickle(Darkness):
    """Gives wrong vectors the first time that it sees a picture."""

    seen = 0

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        self.seen += len(pictures)
        vectors = super().encode_images(pictures)
        return vectors if self.seen > len(COLOURS) else np.roll(vectors, 1, axis=1)


def test_an_index_whose_pictures_embed_differently_does_not_answer(library: Library) -> None:
    library.registry.encoders["dark"] = Fickle()
    job = library.shop.ended(library.reindex())
    assert job.error is not None
    assert job.error["code"] == "index_check_failed"
    assert "gave another vector" in job.error["detail"]
    # Continued, it would keep the wrong vectors, of which the next check might see none.
    assert library.states() == {"demo": ["active"], "dark": ["dropped"]}
    again = library.shop.ended(library.reindex())
    assert (again.state, again.counters.created) == (JobState.SUCCEEDED, len(COLOURS))
    library.check()


def test_an_index_that_finds_too_little_does_not_answer(library: Library) -> None:
    overlooking = replace(library.ctx, uow=lambda: Overlooking(library.ctx.uow()))  # type: ignore[arg-type]
    good = library.shop.handlers[UnitKind.VERIFY]
    library.shop.handlers[UnitKind.VERIFY] = replace(cast("VerifyHandler", good), ctx=overlooking)
    job = library.shop.ended(library.reindex())
    assert job.error is not None
    assert "finds 0." in job.error["detail"]
    assert library.states() == {"demo": ["active"], "dark": ["building"]}
    library.shop.handlers[UnitKind.VERIFY] = good
    assert library.shop.ended(library.reindex()).state is JobState.SUCCEEDED


class Overlooking:
    """A unit of work whose approximate search finds half of what there is."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def __enter__(self) -> UnitOfWork:
        uow = self._uow.__enter__()
        search = uow.vectors.search

        def half(*args: Any, exact: bool, **options: Any) -> Any:
            found = search(*args, exact=True, **options)
            return found if exact else found[: len(found) // 2]

        uow.vectors.search = half  # type: ignore[method-assign]
        return uow

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._uow.__exit__(exc_type, exc, traceback)


def test_an_index_that_lacks_a_vector_does_not_answer(library: Library) -> None:
    job = library.reindex()
    library.steps_until(job, UnitKind.VERIFY)
    (half,) = (view.index.id for view in views(library) if view.index.state is IndexState.BUILDING)
    with library.ctx.uow() as uow:
        uow.vectors.remove(half, [library.images()[0].id])
        uow.commit()
    ended = library.shop.ended(job)
    assert ended.error is not None
    assert "lacks the vectors of 1 images" in ended.error["detail"]
    assert library.states() == {"demo": ["active"], "dark": ["building"]}
    rest = library.shop.ended(library.reindex())
    assert (rest.state, rest.counters.created) == (JobState.SUCCEEDED, 1)


def test_an_image_that_cannot_be_embedded_is_named_and_the_rest_is_kept(library: Library) -> None:
    (image,) = (image for image in library.images() if image.external_id == "green.png")
    library.ctx.objects.delete([blob_key(image.tenant_id, image.blob.sha256)])
    job = library.shop.ended(library.reindex())
    assert (job.state, job.counters.created) == (JobState.FAILED, 11)
    assert job.error is not None
    assert "1 images could not be embedded" in job.error["detail"]
    assert library.shop.items(job.id) == {"green.png": ("failed", "blob_missing")}
    delete(library, "green")
    rest = library.shop.ended(library.reindex())
    assert (rest.state, rest.counters.total) == (JobState.SUCCEEDED, 0)
    assert library.states() == {"demo": ["standby"], "dark": ["active"]}


def test_weights_that_changed_under_a_name_are_never_mixed_in(library: Library) -> None:
    job = library.reindex()
    library.steps_until(job, UnitKind.REEMBED)
    assert library.step()
    other = Darkness()
    other.identity = EncoderIdentity("darkness", "none", "2" * 64, 4, "none")
    library.registry.encoders["dark"] = other
    ended = library.shop.ended(job)
    assert ended.error is not None
    assert ended.error["code"] == "encoder_mismatch"


@dataclass
class Later:
    """A clock that is ahead."""

    ahead: timedelta = timedelta(hours=25)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def tables(library: Library) -> int:
    with library.engine.connect() as connection:
        counted: int = connection.execute(
            text("SELECT count(*) FROM pg_tables WHERE schemaname = 'vectors'")
        ).scalar_one()
    return counted


def test_what_stands_by_goes_after_its_time_when_no_query_reads_it(library: Library) -> None:
    library.built()
    assert generations.drop_outlived(library.ctx, lambda: False) == 0
    assert library.states() == {"demo": ["standby"], "dark": ["active"]}
    reader = builders.add_job(
        library.ctx.uow, library.shop.principal.tenant_id, kind=JobKind.QUERY, gallery_id=library.shop.gallery.id
    )
    later = replace(library.ctx, clock=Later())
    assert generations.drop_outlived(later, lambda: False) == 0
    assert library.states() == {"demo": ["dropped"], "dark": ["active"]}
    assert tables(library) == 2
    put(library, "red", "pink")
    with library.ctx.uow() as uow:
        uow.jobs.set_state(reader.id, JobState.SUCCEEDED)
        uow.commit()
    assert generations.drop_outlived(later, lambda: False) == 1
    assert tables(library) == 1


def test_a_half_made_one_is_kept_while_a_job_works_on_it(library: Library) -> None:
    job = library.reindex()
    library.steps_until(job, UnitKind.REEMBED)
    later = replace(library.ctx, clock=Later())
    generations.drop_outlived(later, lambda: False)
    assert library.states()["dark"] == ["building"]
    jobs.cancel(library.ctx, library.shop.principal, job)
    assert generations.drop_outlived(library.ctx, lambda: False) == 0
    generations.drop_outlived(later, lambda: False)
    assert library.states()["dark"] == ["dropped"]


def test_retiring_ends_the_job_and_spares_the_active_one(library: Library) -> None:
    active = library.gallery().active_index_id
    assert active is not None
    with pytest.raises(ConflictError, match="activate another"):
        library.retire(active)
    job = library.reindex()
    library.steps_until(job, UnitKind.REEMBED)
    assert library.step()
    (half,) = (view.index.id for view in views(library) if view.index.state is IndexState.BUILDING)
    library.retire(half)
    assert library.shop.ended(job).state is JobState.CANCELED
    assert library.pending(half) == 0
    assert generations.drop_outlived(library.ctx, lambda: False) == 1
    assert tables(library) == 1
    library.retire(half)


def test_an_empty_gallery_is_reindexed_too(library: Library) -> None:
    for image in library.images():
        galleries.delete_image(library.ctx, library.shop.principal, "summer", image.id, version=None)
    job = library.shop.ended(library.reindex())
    assert (job.state, job.counters.total) == (JobState.SUCCEEDED, 0)
    put(library, "red", "red")
    assert library.states() == {"demo": ["standby"], "dark": ["active"]}


def test_an_index_whose_encoder_is_listed_no_more_is_not_gone_back_to(library: Library) -> None:
    (old,) = (view.index.id for view in views(library))
    library.built()
    encoders = {"dark": library.ctx.settings.encoders["dark"]}
    settings = library.ctx.settings.model_copy(update={"encoders": encoders, "default_encoder": "dark"})
    with pytest.raises(ConflictError, match="not among SETR_ENCODERS"):
        generations.activate(replace(library.ctx, settings=settings), library.shop.principal, "summer", old)
    assert library.states() == {"demo": ["standby"], "dark": ["active"]}
    library.activate(old)


def test_indexes_that_nobody_activates_do_not_pile_up(library: Library) -> None:
    for _ in range(generations.MAX_WAITING):
        library.built(activate=Activation.MANUAL)
    with pytest.raises(ConflictError, match="3 indexes that were never activated"):
        library.reindex()
    library.retire(next(view.index.id for view in views(library) if view.index.state is IndexState.READY))
    library.built()


def test_a_half_made_index_that_is_continued_does_not_go_in_upkeep(library: Library) -> None:
    """Upkeep lists it as outlived; before its turn comes, somebody re-indexes."""
    job = library.reindex()
    jobs.cancel(library.ctx, library.shop.principal, job)
    before = {view.index.id: view.index.changed_at for view in views(library)}
    library.reindex()
    (half,) = (view.index for view in views(library) if view.index.state is IndexState.BUILDING)
    assert half.changed_at != before[half.id]


def test_a_switch_writes_nothing_else_of_the_gallery(library: Library) -> None:
    job = library.reindex()
    library.steps_until(job, UnitKind.VERIFY)
    stale = library.shop.gallery
    with library.ctx.uow() as uow:
        now = uow.galleries.by_id(stale.id)
        assert now is not None
        uow.galleries.update(replace(now, attributes_schema={"price": "number"}))
        (half,) = (index for index in uow.indexes.live(stale.id) if index.state is IndexState.BUILDING)
        uow.indexes.hold(stale.id, alone=True)
        generations.switch(uow, now, replace(half, state=IndexState.READY))
        switched = uow.galleries.by_id(stale.id)
    assert switched is not None
    assert (switched.attributes_schema, switched.active_index_id) == ({"price": "number"}, half.id)
