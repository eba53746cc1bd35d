"""Catalogs that lie on the web or in a bucket, through the whole service."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from minio import Minio
from PIL import Image

from tests.functional.conftest import Service
from tests.web import WebServer, web_server

pytestmark = pytest.mark.functional
PICTURES = 40
BUCKET = "catalog"
OBJECTS = 8


def jpeg(number: int) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (64, 64), (6 * number % 256, 90, 255 - 6 * number % 256)).save(target, "JPEG")
    return target.getvalue()


@pytest.fixture
def site() -> Iterator[WebServer]:
    with web_server() as server:
        server.pages |= {f"/p/{number}.jpg": jpeg(number) for number in range(PICTURES)}
        yield server


@pytest.fixture(scope="module")
def s3(service: Service) -> Minio:
    """The S3 server with a bucket of the shop's own, of which the operator opened `open/`."""
    settings = service.stack.settings
    keys = (settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value())
    client = Minio(settings.s3_endpoint, access_key=keys[0], secret_key=keys[1], secure=False)
    client.make_bucket(BUCKET)
    for number in range(OBJECTS):
        store(client, f"open/p/{number}.jpg", jpeg(number))
    store(client, "closed/1.jpg", jpeg(1))
    return client


def store(s3: Minio, key: str, data: bytes) -> None:
    s3.put_object(BUCKET, key, io.BytesIO(data), len(data))


def table(addresses: Mapping[str, str]) -> bytes:
    """A manifest of these pictures by `external_id`, the first for 0, the next for 1."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["external_id", "image", "price"])
    writer.writerows((name, address, price) for price, (name, address) in enumerate(addresses.items()))
    return text.getvalue().encode()


def manifest(site: WebServer) -> bytes:
    return table({f"sku-{number}": site.url(f"/p/{number}.jpg") for number in range(PICTURES)})


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


def images(service: Service, gallery: str) -> dict[str, dict[str, Any]]:
    """Attributes by external id."""
    found = service.http.get(f"/galleries/{gallery}/images").json()["items"]
    return {image["external_id"]: image["attributes"] for image in found}


@pytest.mark.usefixtures("s3")
def test_rows_that_name_objects_are_imported_or_fail_each_with_its_code(service: Service) -> None:
    gallery = service.gallery("bucket-rows")
    good = {f"sku-{number}": f"s3://{BUCKET}/open/p/{number}.jpg" for number in range(OBJECTS)}
    own = service.stack.settings.s3_bucket
    bad = {
        "outside": (f"s3://{BUCKET}/closed/1.jpg", "bucket_refused"),
        "elsewhere": ("s3://other/open/1.jpg", "bucket_refused"),
        "everybody's": (f"s3://{own}/open/1.jpg", "bucket_refused"),
        "above": (f"s3://{BUCKET}/open/../closed/1.jpg", "bad_url"),
        "missing": (f"s3://{BUCKET}/open/p/none.jpg", "object_not_found"),
        "absent": ("s3://absent/1.jpg", "bucket_denied"),
    }
    rows = table(good | {name: address for name, (address, _) in bad.items()})

    job = service.ended(service.import_files(gallery, ("catalog.csv", rows)))
    assert (job["state"], job["progress"]["created"]) == ("partially_succeeded", OBJECTS)
    items = service.http.get(f"/jobs/{job['id']}/items?state=failed").json()["items"]
    assert {item["external_id"]: item["code"] for item in items} == {name: code for name, (_, code) in bad.items()}
    assert images(service, gallery) == {name: {"price": price} for price, name in enumerate(good)}

    again = service.ended(service.import_files(gallery, ("catalog.csv", rows)))["progress"]
    assert (again["unchanged"], again["failed"], again["total"]) == (OBJECTS, len(bad), OBJECTS + len(bad))


def test_a_catalog_in_a_bucket_follows_its_manifest_and_its_objects(service: Service, s3: Minio) -> None:
    gallery = service.gallery("bucket-manifest")
    named = {f"sku-{number}": f"s3://{BUCKET}/open/p/{number}.jpg" for number in range(OBJECTS)}

    def imported(**source: str) -> dict[str, Any]:
        answer = service.http.post(f"/galleries/{gallery}/imports", json={"source": source})
        assert answer.status_code == 202, answer.text
        progress = service.ended(answer.json()["id"])["progress"]
        return {name: count for name, count in progress.items() if count and name != "total"}

    store(s3, "open/catalog.csv", table(named))
    assert imported(manifest=f"s3://{BUCKET}/open/catalog.csv") == {"created": OBJECTS}
    assert imported(manifest=f"s3://{BUCKET}/open/catalog.csv") == {"unchanged": OBJECTS}
    store(s3, "open/p/0.jpg", jpeg(PICTURES))
    assert imported(manifest=f"s3://{BUCKET}/open/catalog.csv") == {"updated": 1, "unchanged": OBJECTS - 1}

    assert imported(s3_prefix=f"s3://{BUCKET}/open/p/") == {"created": OBJECTS}
    assert imported(s3_prefix=f"s3://{BUCKET}/open/p/") == {"unchanged": OBJECTS}
    assert service.image_count(gallery) == 2 * OBJECTS

    refused = {"source": {"manifest": f"s3://{BUCKET}/closed/catalog.csv"}}
    assert service.http.post(f"/galleries/{gallery}/imports", json=refused).status_code == 422


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
