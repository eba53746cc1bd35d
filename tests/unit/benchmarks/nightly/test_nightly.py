"""The shop of the nightly benchmark, and what its numbers say."""

from http import HTTPStatus
from pathlib import Path
from zipfile import ZipFile

import pytest

from benchmarks.nightly.measure import Night
from benchmarks.nightly.report import report, summary
from benchmarks.nightly.site import MANIFEST, Served, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    path = tmp_path / "pictures.zip"
    names = [f"{number}.jpg" for number in range(12)]
    with ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return Site(ZipFile(path), names, rows=10, port=80)


def test_a_picture_goes_out_once_until_it_changes(site: Site) -> None:
    status, etag, body = site.answer("/0.jpg", None)
    assert (status, body) == (HTTPStatus.OK, b"0.jpg")
    assert site.answer("/0.jpg", etag)[0] is HTTPStatus.NOT_MODIFIED
    site.change(2)
    status, changed, body = site.answer("/0.jpg", etag)
    assert (status, body, changed != etag) == (HTTPStatus.OK, b"10.jpg", True)
    assert site.answer("/1.jpg", '"1"')[0] is HTTPStatus.NOT_MODIFIED
    assert site.served == Served(bodies=2, not_modified=2)


def test_changes_are_spread_and_never_repeat_a_picture(site: Site) -> None:
    site.change(2)
    assert [row for row, picture in enumerate(site.shown) if row != picture] == [0, 5]
    assert len(set(site.shown)) == 10
    with pytest.raises(ValueError, match="12 pictures"):
        site.change(1)


def test_the_manifest_names_every_row_and_stays_the_same(site: Site) -> None:
    before = site.answer(MANIFEST, None)[2]
    lines = before.decode().splitlines()
    assert lines[0] == "external_id,image,price"
    assert lines[1].startswith("sku-0000000,http://127.0.0.1:80/0.jpg,")
    assert len(lines) == 11
    site.change(1)
    assert site.answer(MANIFEST, None)[2] == before


def night(name: str, seconds: float, *, embedded: int, puts: int, served: Served) -> Night:
    progress = {"total": 200, "created": embedded, "updated": 0, "unchanged": 200 - embedded}
    return Night(name, seconds, progress, embedded, puts, served)


def test_shares_are_those_of_the_first_night() -> None:
    nights = [
        night("first", 40.0, embedded=200, puts=400, served=Served(200, 0)),
        night("nothing changed", 3.0, embedded=0, puts=0, served=Served(0, 200)),
        night("delta", 4.0, embedded=2, puts=4, served=Served(2, 198)),
    ]
    told = summary(nights, changed=2)
    assert told == {
        "rows": 200,
        "changed_share": 0.01,
        "embedded_share": 0.01,
        "puts_share": 0.01,
        "downloaded_share": 0.01,
        "seconds_first": 40.0,
        "seconds_unchanged": 3.0,
        "seconds_delta": 4.0,
        "seconds_share": 0.1,
    }
    text = report(nights, changed=2, command="make bench-nightly", write=False)
    assert "| delta | 4.0 s | 2 | 4 | 2 | 198 | 2 | 0 | 198 |" in text
