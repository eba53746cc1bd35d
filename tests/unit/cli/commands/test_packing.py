import csv
import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from cli.commands.packing import Plan, pack, plan
from cli.transport import ClientError


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    for name in ("b.jpg", "a.PNG", "sub/c.webp", "sub/photo.heic", "notes.txt", ".DS_Store", "sub/._c.webp"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def packed_names(wanted: Plan, tmp_path: Path) -> dict[str, bytes]:
    steps: list[int] = []
    with zipfile.ZipFile(pack(wanted, tmp_path, on_file=steps.append).path) as archive:
        assert steps == list(range(1, wanted.count + 1))
        return {name: archive.read(name) for name in archive.namelist()}


def manifest(folder: Path, text: str, name: str = "catalog.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_folder_becomes_an_archive_of_its_pictures_by_relative_path(shop: Path, tmp_path: Path) -> None:
    wanted = plan(shop)
    assert packed_names(wanted, tmp_path) == {
        "a.PNG": b"a.PNG", "b.jpg": b"b.jpg", "sub/c.webp": b"sub/c.webp", "sub/photo.heic": b"sub/photo.heic",
    }  # fmt: skip
    assert wanted.remarks == ("Left out 1 files that are no pictures: notes.txt",)


def test_pictures_are_stored_not_deflated(shop: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(pack(plan(shop), tmp_path, on_file=lambda _: None).path) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_files_from_before_1980_can_be_packed(shop: Path, tmp_path: Path) -> None:
    os.utime(shop / "b.jpg", (0, 0))
    assert "b.jpg" in packed_names(plan(shop), tmp_path)


def test_a_manifest_in_the_folder_is_pointed_out(shop: Path) -> None:
    manifest(shop, "external_id,image\n")
    assert str(shop / "catalog.csv") in plan(shop).remarks[1]


def test_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="no picture"):
        plan(tmp_path)


@pytest.mark.parametrize("name", ["a.zip", "a.jpg", "a.webp"])
def test_archives_and_single_pictures_go_as_they_are(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"data")
    file = pack(plan(path), tmp_path, on_file=lambda _: None)
    assert (file.path, file.filename, file.size_bytes) == (path, name, 4)


def test_csv_is_packed_with_its_pictures_and_its_cells_untouched(shop: Path, tmp_path: Path) -> None:
    text = (
        'external_id,image,name\n1,b.jpg,"Dress, red"\n2,./sub/c.webp,été\n3,https://shop.test/x.jpg,\n4,b.jpg,again\n'
    )
    names = packed_names(plan(manifest(shop, "\ufeff" + text)), tmp_path)
    assert names.keys() == {"catalog.csv", "b.jpg", "sub/c.webp"}
    rows = list(csv.DictReader(io.StringIO(names["catalog.csv"].decode())))
    assert [row["image"] for row in rows] == ["b.jpg", "sub/c.webp", "https://shop.test/x.jpg", "b.jpg"]
    assert [row["name"] for row in rows] == ["Dress, red", "été", "", "again"]


def test_pictures_outside_the_manifests_folder_get_a_place_of_their_own(shop: Path, tmp_path: Path) -> None:
    outside = tmp_path / "b.jpg"
    outside.write_bytes(b"outside")
    names = packed_names(plan(manifest(shop, f"external_id,image\n1,b.jpg\n2,../b.jpg\n3,{outside}\n")), tmp_path)
    rows = list(csv.DictReader(io.StringIO(names["catalog.csv"].decode())))
    assert [names[row["image"]] for row in rows] == [b"b.jpg", b"outside", b"outside"]
    assert not any(".." in name or name.startswith("/") for name in names)


def test_jsonl_keeps_its_values_and_its_deletions(shop: Path, tmp_path: Path) -> None:
    rows = [{"external_id": "1", "image": "b.jpg", "price": 9.5}, {"external_id": "2", "operation": "delete"}]
    path = manifest(shop, "\n".join(map(json.dumps, rows)) + "\n\n", name="catalog.jsonl")
    names = packed_names(plan(path), tmp_path)
    assert [json.loads(line) for line in names["catalog.jsonl"].splitlines()] == rows


def test_missing_pictures_are_all_listed_before_anything_is_sent(shop: Path) -> None:
    path = manifest(shop, "external_id,image\n1,b.jpg\n2,gone.jpg\n3,also/gone.jpg\n")
    with pytest.raises(ClientError, match="names 2 pictures that are not there") as caught:
        plan(path)
    assert "line 3: gone.jpg" in str(caught.value)
    assert "line 4: also/gone.jpg" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "id,file\n1,b.jpg\n", "needs the columns"),
        ("m.csv", "", "needs the columns"),
        ("m.csv", "external_id,image\n1,b.jpg,too,many\n", "line 2: the number of cells"),
        ("m.csv", "external_id,image,color\n1,b.jpg\n", "line 2: the number of cells"),
        ("m.jsonl", '{"external_id": "1"}\n[1]\n', "line 2 is not a JSON object"),
        ("m.jsonl", "{nonsense\n", "line 1 is not a JSON object"),
        ("m.txt", "hello", "neither a picture"),
    ],
)
def test_what_cannot_be_imported_is_said_before_the_upload(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        plan(manifest(tmp_path, text, name=name))


def test_a_manifest_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes("external_id,image\n1,é.jpg\n".encode("latin-1"))
    with pytest.raises(ClientError, match="not UTF-8"):
        plan(path)


def test_unprintable_names_are_listed(tmp_path: Path) -> None:
    (tmp_path / "a\nb.jpg").write_bytes(b"x")
    with pytest.raises(ClientError, match=r"1 file names cannot be sent: 'a\\nb.jpg'"):
        plan(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="does not exist"):
        plan(tmp_path / "nope")
