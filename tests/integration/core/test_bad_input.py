"""Each bad input ends as it should, and what is good beside it goes through: real Postgres and S3, in one process."""

from collections.abc import Sequence

import pytest
from PIL.Image import Image as Picture
from sqlalchemy import Engine, text

import core.ingest
from cli.local.services import RunningServices
from core.context import Context, SystemClock
from core.embedder import Embedder
from core.embedding import EmbedHandler
from core.models import JobState, UnitKind, Vectors
from core.pictures import Limits, Validated, validate
from core.ports import UnitOfWorkFactory
from storage.objects import S3ObjectStore
from tests.bad_input import BOUNDS, CASES, FAILED, JOB_FAILS, Case, zipped
from tests.integration.core.importing import MeanColour, Shop, open_shop, picture
from tests.integration.core.test_durable import Bell
from tests.integration.storage import builders

pytestmark = pytest.mark.integration


@pytest.fixture
def shop(
    uow_factory: UnitOfWorkFactory, engine: Engine, services: RunningServices, object_store: S3ObjectStore
) -> Shop:
    settings = services.settings.model_copy(update=BOUNDS)
    ctx = Context(uow_factory, object_store, Bell(), SystemClock(), settings)
    return open_shop(ctx, engine, builders.add_tenant(uow_factory))


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_bad_input_has_its_outcome_and_the_rest_goes_through(shop: Shop, case: Case) -> None:
    job = shop.imported(case.files())
    if case.outcome == JOB_FAILS:
        assert job.state is JobState.FAILED
        assert job.error is not None
        assert job.error["code"] == case.code
        assert job.error["detail"].endswith(".")
        assert shop.contents() == {}
        return
    assert shop.contents().keys() == case.good
    items = shop.failed(job.id)
    assert {item.code for item in items} == ({case.code} if case.outcome == FAILED else set())
    assert all(item.detail.endswith(".") for item in items)
    assert job.state is (JobState.PARTIALLY_SUCCEEDED if case.outcome == FAILED else JobState.SUCCEEDED)


class KilledError(BaseException):
    """What the end of a process looks like from inside it: nobody catches this, nothing is cleaned up."""


POISON = picture("purple")
MOST_DEATHS = 10


class Deadly(MeanColour):
    """Dies of the one picture."""

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        if any(one.getpixel((0, 0)) == (128, 0, 128) for one in pictures):
            raise KilledError
        return super().encode_images(pictures)


def deadly(data: bytes, limits: Limits, *, thumbnail_px: int = 256) -> Validated:
    """As `validate`, but for the one picture."""
    if data == POISON:
        raise KilledError
    return validate(data, limits, thumbnail_px=thumbnail_px)


@pytest.mark.parametrize("where", ["reading", "embedding"])
def test_a_picture_that_kills_its_worker_is_passed_over(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where == "reading":
        monkeypatch.setattr(core.ingest, "validate", deadly)
    else:
        shop.handlers[UnitKind.EMBED] = EmbedHandler(shop.ctx, Deadly(), Embedder(shop.ctx))
    good = {f"{colour}.png": picture(colour) for colour in ("blue", "green", "olive", "red", "teal", "white")}
    job_id = shop.submit({"a.zip": zipped(sorted([*good.items(), ("poison.png", POISON)]))})
    for _ in range(MOST_DEATHS):
        try:
            shop.run()
        except KilledError:
            bury(shop)
    assert shop.job(job_id).state is JobState.PARTIALLY_SUCCEEDED
    assert shop.items(job_id) == {"poison.png": ("failed", "poison")}
    assert shop.contents() == good


def bury(shop: Shop) -> None:
    """The lease of the dead runs out, and the reconciler frees the unit."""
    with shop.engine.begin() as connection:
        connection.execute(text("UPDATE work_units SET lease_until = now() - interval '1 s' WHERE state = 'running'"))
    with shop.ctx.uow() as uow:
        assert len(uow.units.free_expired()) == 1
        uow.commit()
