"""Near-duplicates over HTTP, on real Postgres."""

import io
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sqlalchemy import Engine, text

from core.context import Context
from core.ids import new_id
from core.limits import picture_limits
from core.models import Blob, ImageDraft
from core.pictures import validate
from tests.integration.api.conftest import Call

pytestmark = pytest.mark.integration
PATH = "/galleries/summer/duplicates"


def drawn(seed: int) -> Image.Image:
    """A picture of its own."""
    picture = Image.new("RGB", (320, 240), "white")
    draw = ImageDraw.Draw(picture)
    numbers = np.random.default_rng(seed)
    for _ in range(12):
        x, y, width, height = (int(value) for value in numbers.integers(0, 200, 4))
        draw.rectangle((x, y, x + width, y + height), fill=tuple(int(value) for value in numbers.integers(0, 255, 3)))
    return picture


def stored(picture: Image.Image, *, form: str = "JPEG", quality: int = 90) -> bytes:
    target = io.BytesIO()
    picture.save(target, form, quality=quality)
    return target.getvalue()


def show(ctx: Context, call: Call, pictures: dict[str, bytes]) -> None:
    """Images as an import leaves them."""
    gallery_id = UUID(call("GET", "/galleries/summer").json["id"])
    blobs = {name: validate(data, picture_limits(ctx.settings)).blob for name, data in pictures.items()}
    add(ctx, gallery_id, blobs)


def add(ctx: Context, gallery_id: UUID, blobs: dict[str, Blob]) -> None:
    with ctx.uow() as uow:
        gallery = uow.galleries.by_id(gallery_id)
        assert gallery is not None
        uow.blobs.add(gallery.tenant_id, list(blobs.values()))
        for name, blob in blobs.items():
            uow.images.upsert(gallery, [ImageDraft(name, blob, {})], job_id=new_id())
        uow.commit()


@pytest.fixture
def gallery(call: Call) -> str:
    assert call("POST", "/galleries", json={"name": "summer"}).status_code == 201
    return "summer"


def names(group: dict[str, Any]) -> list[str]:
    return [image["external_id"] for image in group["images"]]


def test_what_looks_the_same_is_a_group(call: Call, ctx: Context, gallery: str) -> None:
    del gallery
    first, second = drawn(1), drawn(2)
    pictures = {
        "a": stored(first),
        "b": stored(second),
        "a-again": stored(first),
        "lone": stored(drawn(3)),
        "a-small": stored(first.resize((160, 120)), quality=60),
        "b-png": stored(second, form="PNG"),
    }
    show(ctx, call, pictures)
    groups = call("GET", PATH).json["items"]
    assert [names(group) for group in groups] == [["a", "a-again", "a-small"], ["b", "b-png"]]
    assert [image["identical"] for image in groups[0]["images"]] == [True, True, False]
    assert [image["distance"] for image in groups[0]["images"]][:2] == [0, 0]
    assert [group["size"] for group in groups] == [3, 2]


def test_pages_stay_stable_while_images_arrive(call: Call, ctx: Context, gallery: str) -> None:
    del gallery
    show(ctx, call, {f"{number}-{copy}": stored(drawn(number)) for number in range(5) for copy in "ab"})
    seen: list[str] = []
    token = None
    while True:
        page = call("GET", PATH, query_string={"page_size": 2, **({"page_token": token} if token else {})}).json
        seen += [names(group)[0] for group in page["items"]]
        show(ctx, call, {f"new-{len(seen)}": stored(drawn(0))})
        token = page["next_page_token"]
        if token is None:
            break
    assert seen == [f"{number}-a" for number in range(5)]


def test_pictures_without_looks_are_near_only_when_they_are_the_same(
    call: Call, ctx: Context, gallery: str, engine: Engine
) -> None:
    del gallery
    show(ctx, call, {"a": stored(drawn(1)), "b": stored(drawn(1), quality=50), "c": stored(drawn(1))})
    with engine.begin() as connection:
        connection.execute(text("UPDATE blobs SET phash = NULL, tint = NULL"))
    assert [names(group) for group in call("GET", PATH).json["items"]] == [["a", "c"]]


def test_too_large_a_gallery_is_refused(call: Call, ctx: Context, gallery: str) -> None:
    del gallery
    show(ctx, call, {f"sku-{number}": stored(drawn(number)) for number in range(3)})
    object.__setattr__(ctx.settings, "duplicates_max_images", 2)
    try:
        answer = call("GET", PATH)
    finally:
        object.__setattr__(ctx.settings, "duplicates_max_images", 500_000)
    assert (answer.status_code, "SETR_DUPLICATES_MAX_IMAGES" in answer.json["detail"]) == (422, True)


@pytest.mark.parametrize("distance", ["-1", "11", "x"])
def test_distances_are_bounded(call: Call, gallery: str, distance: str) -> None:
    del gallery
    assert call("GET", PATH, query_string={"distance": distance}).status_code == 422
