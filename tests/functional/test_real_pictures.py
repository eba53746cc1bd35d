"""Pictures as people have them: each is imported, or fails with its own code, and the rest of the batch goes on."""

import io
from typing import Any

import pytest
from PIL import Image

from tests import pictures
from tests.functional.conftest import Service, zipped

pytestmark = pytest.mark.functional

GOOD = {
    "plain.jpg": pictures.jpeg,
    "progressive.jpg": pictures.progressive_jpeg,
    "cmyk.jpg": pictures.cmyk_jpeg,
    "palette.png": pictures.palette_png,
    "alpha.png": pictures.transparent_png,
    "sixteen-bit.png": pictures.rgb16_png,
    "grey-sixteen.png": pictures.gray16_png,
    "animated.gif": pictures.animated_gif,
    "animated.webp": pictures.animated_webp,
    "scan.tiff": pictures.tiff,
    "really-a-png.jpg": pictures.png,
    "hundred-megapixels.jpg": pictures.huge_jpeg,
}
BAD = {
    "empty.jpg": (b"", "empty_file"),
    "truncated.jpg": (pictures.noisy("JPEG")[:-4000], "truncated_image"),
    "words.jpg": (b"This is no picture. " * 20, "not_an_image"),
    "phone.heic": (pictures.heic(), "unsupported_format"),
    "logo.svg": (pictures.svg(), "unsupported_format"),
    "bomb.png": (pictures.bomb_png(), "too_many_pixels"),
    "hundred-megapixels.png": (pictures.huge_png(), "too_many_pixels"),
}


@pytest.fixture(scope="module")
def job(service: Service) -> dict[str, Any]:
    gallery = service.gallery("real-pictures")
    files = {name: make() for name, make in GOOD.items()}
    files["sideways.jpg"] = pictures.rotated(6)
    files |= {name: data for name, (data, _) in BAD.items()}
    return service.ended(service.import_files(gallery, ("pictures.zip", zipped(files))))


def test_good_ones_are_imported_and_bad_ones_do_not_stop_them(job: dict[str, Any]) -> None:
    assert job["state"] == "partially_succeeded"
    assert job["progress"]["created"] == len(GOOD) + 1
    assert job["progress"]["failed"] == len(BAD)


def test_each_failure_has_its_code_and_says_what_to_do(service: Service, job: dict[str, Any]) -> None:
    page = service.http.get(f"/jobs/{job['id']}/items", params={"state": "failed"}).json()
    assert {item["external_id"]: item["code"] for item in page["items"]} == {
        name: code for name, (_, code) in BAD.items()
    }
    assert all(item["detail"] and item["source"].startswith("pictures.zip/") for item in page["items"])


def test_outcomes_come_as_csv_too(service: Service, job: dict[str, Any]) -> None:
    answer = service.http.get(f"/jobs/{job['id']}/items", headers={"Accept": "text/csv"})
    lines = answer.text.strip().splitlines()
    assert len(lines) == 1 + len(BAD)


def test_a_rotated_photo_is_stored_upright_in_size(service: Service, job: dict[str, Any]) -> None:
    assert job["progress"]["created"]
    found = service.http.get("/galleries/real-pictures/images", params={"external_id": "sideways.jpg"}).json()
    image = found["items"][0]
    stored = Image.open(io.BytesIO(pictures.rotated(6)))
    assert stored.size == (pictures.HEIGHT, pictures.WIDTH)
    assert (image["width"], image["height"]) == (pictures.WIDTH, pictures.HEIGHT)


def test_a_mislabelled_file_is_served_as_what_it_is(service: Service, job: dict[str, Any]) -> None:
    assert job["progress"]["created"]
    found = service.http.get("/galleries/real-pictures/images", params={"external_id": "really-a-png.jpg"}).json()
    answer = service.http.get(f"/galleries/real-pictures/images/{found['items'][0]['id']}/content")
    assert answer.headers["Content-Type"] == "image/png"


def test_loose_pictures_come_as_multipart_too(service: Service) -> None:
    gallery = service.gallery("loose")
    job = service.ended(
        service.import_files(
            gallery, ("a.jpg", pictures.jpeg()), ("b.heic", pictures.heic()), ("c.png", pictures.png())
        )
    )
    assert (job["progress"]["created"], job["progress"]["failed"]) == (2, 1)


def test_an_import_of_nothing_usable_fails_with_a_reason(service: Service) -> None:
    gallery = service.gallery("unusable")
    job = service.ended(service.import_files(gallery, ("catalog.zip", b"this is not a ZIP archive")))
    assert job["state"] == "failed"
    assert "ZIP" in job["error"]["detail"]
