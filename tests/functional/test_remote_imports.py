"""A nightly manifest of URLs, through the whole service."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.functional.conftest import Service
from tests.web import WebServer, web_server

pytestmark = pytest.mark.functional
PICTURES = 40


def jpeg(number: int) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (64, 64), (6 * number % 256, 90, 255 - 6 * number % 256)).save(target, "JPEG")
    return target.getvalue()


@pytest.fixture
def site() -> Iterator[WebServer]:
    with web_server() as server:
        server.pages |= {f"/p/{number}.jpg": jpeg(number) for number in range(PICTURES)}
        yield server


def manifest(site: WebServer) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["external_id", "image", "price"])
    writer.writerows([f"sku-{number}", site.url(f"/p/{number}.jpg"), number] for number in range(PICTURES))
    return text.getvalue().encode()


def nightly(service: Service, gallery: str, site: WebServer) -> dict[str, Any]:
    site.forget()
    progress: dict[str, Any] = service.ended(service.import_files(gallery, ("catalog.csv", manifest(site))))["progress"]
    return progress


def test_the_second_night_downloads_nothing(service: Service, site: WebServer) -> None:
    gallery = service.gallery("nightly-urls")
    assert nightly(service, gallery, site)["created"] == PICTURES
    assert len(site.bodies) == PICTURES
    assert service.image_count(gallery) == PICTURES

    assert nightly(service, gallery, site)["unchanged"] == PICTURES
    assert site.bodies == []
    assert len(site.asked) == PICTURES

    site.pages["/p/0.jpg"] = jpeg(PICTURES)
    progress = nightly(service, gallery, site)
    assert (progress["updated"], progress["unchanged"]) == (1, PICTURES - 1)
    assert site.bodies == ["/p/0.jpg"]


def test_addresses_of_this_network_are_out_of_reach(service: Service) -> None:
    gallery = service.gallery("curious")
    port = httpx.URL(f"http://{service.stack.settings.s3_endpoint}").port
    urls = [f"http://10.0.0.1:{port}/a", f"http://169.254.169.254:{port}/latest/meta-data", f"http://[::1]:{port}/b"]
    answer = service.http.post(f"/galleries/{gallery}/imports", json={"source": {"urls": urls}})
    assert answer.status_code == 202, answer.text
    job = service.ended(answer.json()["id"])
    assert (job["state"], job["progress"]["failed"]) == ("failed", 3)
    items = service.http.get(f"/jobs/{job['id']}/items").json()["items"]
    assert {item["code"] for item in items} == {"url_refused"}


def test_a_reference_by_url_is_searched_with_and_judged(service: Service, site: WebServer) -> None:
    gallery = service.gallery("reference-urls")
    nightly(service, gallery, site)
    site.forget()
    asked = {"text": "in another colour", "include_reference": True, "top_k": 3}
    by_url, by_name = (
        service.query(gallery, reference=reference | {"region": [0, 0, 1, 1]}, **asked)
        for reference in ({"url": site.url("/p/7.jpg")}, {"external_id": "sku-7"})
    )
    assert (by_url["state"], by_url["result"]["reranked"]) == ("succeeded", True), by_url
    found, expected = ([row["external_id"] for row in job["result"]["results"]] for job in (by_url, by_name))
    assert found == expected
    assert site.bodies == ["/p/7.jpg"]


def test_a_reference_that_cannot_be_fetched_fails_its_query(service: Service, site: WebServer) -> None:
    gallery = service.gallery("reference-nowhere")
    for url, code in ((site.url("/p/none.jpg"), "url_not_found"), ("http://169.254.169.254/1.jpg", "url_refused")):
        job = service.query(gallery, reference={"url": url})
        assert (job["state"], job["error"]["code"]) == ("failed", code)


def test_files_put_straight_into_the_bucket(service: Service) -> None:
    gallery = service.gallery("direct")
    data = jpeg(1)
    announced = service.http.post(
        f"/galleries/{gallery}/uploads", json={"files": [{"filename": "1.jpg", "size_bytes": len(data)}]}
    )
    assert announced.status_code == 201, announced.text
    (upload,) = announced.json()["uploads"]
    source = {"source": {"upload_ids": [upload["id"]]}}
    assert service.http.post(f"/galleries/{gallery}/imports", json=source).status_code == 422
    assert httpx.put(upload["url"], content=data).status_code == 200
    answer = service.http.post(f"/galleries/{gallery}/imports", json=source)
    assert answer.status_code == 202, answer.text
    assert service.ended(answer.json()["id"])["progress"]["created"] == 1
