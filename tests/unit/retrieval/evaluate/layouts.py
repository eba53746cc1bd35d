"""Tiny data sets in the official layouts, with pictures that our own generator draws."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from retrieval.datasets.products import SCENES, Shot, all_products
from retrieval.datasets.synthetic import draw, encode_jpeg

SIZE_PX = 64
GROUP = [f"dev-1-0-img{number}" for number in range(6)]
CIRR_NAMES = [*GROUP, "dev-2-0-img0", "dev-2-0-img1"]
CIRCO_IDS = [11, 12, 13, 200, 1000]


@cache
def picture(number: int) -> bytes:
    """The JPEG of one of our products; another number, another one."""
    products = list(all_products())
    return encode_jpeg(draw(Shot(products[number * 37], SCENES[number % len(SCENES)], number), SIZE_PX))


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_pictures(paths: list[Path]) -> None:
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))


def cirr_entry(pairid: int, *, reference: str, target: str | None, caption: str = "in red") -> dict[str, Any]:
    members: dict[str, Any] = {"id": 1, "members": GROUP, "reference_rank": GROUP.index(reference)}
    entry: dict[str, Any] = {"pairid": pairid, "reference": reference, "caption": caption, "img_set": members}
    if target is not None:
        entry |= {"target_hard": target, "target_soft": {target: 1.0}}
        members["target_rank"] = GROUP.index(target)
    return entry


def write_cirr(folder: Path) -> Path:
    """`val` with two queries and eight pictures, and `test1` without targets over pictures of its own."""
    entries = [
        cirr_entry(12, reference=GROUP[0], target=GROUP[1]),
        cirr_entry(7, reference=GROUP[2], target=GROUP[3], caption="with stripes"),
    ]
    write_json(folder / "cirr/captions/cap.rc2.val.json", entries)
    write_json(folder / "cirr/image_splits/split.rc2.val.json", {name: f"./dev/{name}.png" for name in CIRR_NAMES})
    write_json(folder / "cirr/captions/cap.rc2.test1.json", [cirr_entry(3, reference=GROUP[0], target=None)])
    write_json(folder / "cirr/image_splits/split.rc2.test1.json", {name: f"./test1/{name}.png" for name in CIRR_NAMES})
    for part in ("dev", "test1"):
        write_pictures([folder / part / f"{name}.png" for name in CIRR_NAMES])
    return folder


def write_fashioniq(folder: Path) -> Path:
    """`val` of three categories with four pictures each, one of them named by no query; extensions mixed."""
    for category in ("dress", "shirt", "toptee"):
        names = [f"B00{category.upper()}{number}" for number in range(4)]
        entries = [
            {"target": names[1], "candidate": names[0], "captions": ["is red.", "has long sleeves?"]},
            {"target": names[2], "candidate": names[1], "captions": ["is striped", ""]},
        ]
        write_json(folder / f"captions/cap.{category}.val.json", entries)
        write_json(folder / f"image_splits/split.{category}.val.json", names)
        extensions = ("jpg", "jpg", "png", "png")
        write_pictures([folder / f"images/{name}.{ext}" for name, ext in zip(names, extensions, strict=True)])
    return folder


def write_circo(folder: Path) -> Path:
    """`val` with two queries, `test` with one, over five pictures."""
    unlabeled = folder / "COCO2017_unlabeled"
    images = [{"id": number, "file_name": f"{number:012d}.jpg", "license": 1} for number in CIRCO_IDS]
    write_json(unlabeled / "annotations/image_info_unlabeled2017.json", {"images": images, "info": {}})
    write_pictures([unlabeled / f"unlabeled2017/{number:012d}.jpg" for number in CIRCO_IDS])
    first = {"reference_img_id": 11, "relative_caption": "is red", "shared_concept": "a dress", "id": 0}
    second = {"reference_img_id": 1000, "relative_caption": "has two dots", "shared_concept": "a mug", "id": 1}
    val = [
        {**first, "target_img_id": 200, "gt_img_ids": [200, 12], "semantic_aspects": ["addition", "negation"]},
        {**second, "target_img_id": 13, "gt_img_ids": [13], "semantic_aspects": ["cardinality"]},
    ]
    write_json(folder / "annotations/val.json", val)
    write_json(folder / "annotations/test.json", [first])
    return folder
