"""A catalog that is sent whole every night, as a tar with a manifest."""

import gzip
import io
import json
import tarfile
from typing import Any

import pytest
from PIL import Image

from tests.functional.conftest import Service

pytestmark = pytest.mark.functional
PRODUCTS = 12


def catalog(names: list[str]) -> tuple[str, bytes]:
    rows = "".join(json.dumps({"external_id": name, "image": f"images/{name}.jpg"}) + "\n" for name in names)
    files = {"catalog.jsonl": rows.encode(), **{f"images/{name}.jpg": drawn(name) for name in names}}
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return "catalog.tar.gz", gzip.compress(target.getvalue())


def drawn(name: str) -> bytes:
    number = int(name.removeprefix("sku-"))
    target = io.BytesIO()
    Image.new("RGB", (64, 48), (37 * number % 256, 91 * number % 256, 173 * number % 256)).save(target, "JPEG")
    return target.getvalue()


def names(service: Service, gallery: str) -> set[str]:
    items = service.http.get(f"/galleries/{gallery}/images", params={"page_size": 100}).json()["items"]
    return {item["external_id"] for item in items}


def test_a_nightly_mirror_and_its_guard(service: Service) -> None:
    gallery = service.gallery("nightly")
    all_names = [f"sku-{number}" for number in range(PRODUCTS)]

    def mirror(kept: list[str], **fields: str) -> dict[str, Any]:
        answer = service.http.post(
            f"/galleries/{gallery}/imports", files=[("file", catalog(kept))], data={"mode": "mirror", **fields}
        )
        assert answer.status_code == 202, answer.text
        return service.ended(answer.json()["id"])

    first = mirror(all_names)
    assert first["state"] == "succeeded", first
    assert first["progress"]["created"] == PRODUCTS

    second = mirror([*all_names[1:], "sku-100"])
    assert second["state"] == "succeeded", second
    progress = second["progress"]
    assert (progress["created"], progress["unchanged"], progress["deleted"]) == (1, PRODUCTS - 1, 1)
    assert names(service, gallery) == {*all_names[1:], "sku-100"}
    found = service.query(gallery, text="anything", top_k=50)["result"]["results"]
    assert {row["external_id"] for row in found} == {*all_names[1:], "sku-100"}

    stopped = mirror(all_names[1:4])
    assert stopped["state"] == "failed"
    assert stopped["error"]["code"] == "mirror_guard"
    assert service.image_count(gallery) == PRODUCTS

    allowed = mirror(all_names[1:4], max_delete_share="0.9")
    assert allowed["state"] == "succeeded", allowed
    assert names(service, gallery) == set(all_names[1:4])
