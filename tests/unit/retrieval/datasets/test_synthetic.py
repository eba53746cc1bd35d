import io

import numpy as np
import pytest
from PIL import Image

from retrieval.datasets.products import (
    CATEGORIES,
    COLORS,
    FINISHES,
    PATTERNS,
    SCENES,
    SIZES,
    Product,
    Shot,
    Split,
    all_products,
    products_of,
)
from retrieval.datasets.synthetic import draw, encode_jpeg

DRESS = Product("dress", "red", "dotted", "long sleeves", "large", "glossy")


def test_the_same_shot_gives_the_same_bytes() -> None:
    shot = Shot(DRESS, "beach", 5)

    assert encode_jpeg(draw(shot, 96)) == encode_jpeg(draw(shot, 96))


def test_another_seed_gives_another_photo() -> None:
    assert encode_jpeg(draw(Shot(DRESS, "beach", 5), 96)) != encode_jpeg(draw(Shot(DRESS, "beach", 6), 96))


@pytest.mark.parametrize("size_px", [64, 200])
def test_photos_are_square_rgb_jpegs_of_the_asked_size(size_px: int) -> None:
    with Image.open(io.BytesIO(encode_jpeg(draw(Shot(DRESS, "city", 1), size_px)))) as photo:
        assert (photo.format, photo.mode, photo.size) == ("JPEG", "RGB", (size_px, size_px))


@pytest.mark.parametrize("category", list(CATEGORIES))
def test_every_category_detail_and_scene_can_be_drawn(category: str) -> None:
    details = CATEGORIES[category].values
    pictures = [
        np.asarray(draw(Shot(Product(category, "blue", "plain", detail, "large", "matte"), scene, 3), 64))
        for detail in details
        for scene in SCENES
    ]

    assert len({picture.tobytes() for picture in pictures}) == len(details) * len(SCENES)


@pytest.mark.parametrize("color", list(COLORS))
def test_the_middle_of_a_plain_product_has_its_colour(color: str) -> None:
    photo = np.asarray(draw(Shot(Product("shirt", color, "plain", "long sleeves", "large", "matte"), "studio", 1), 96))
    middle = photo[40:60, 50:60].reshape(-1, 3).mean(axis=0)
    distances = {name: float(np.abs(middle - np.array(rgb)).sum()) for name, rgb in COLORS.items()}

    assert min(distances, key=lambda name: distances[name]) == color


def test_there_are_enough_values_of_everything() -> None:
    assert len(CATEGORIES) >= 8
    assert len(COLORS) >= 10
    assert len(PATTERNS) >= 5
    assert len(SCENES) >= 8
    assert len(SIZES) >= 2
    assert len(FINISHES) >= 2


def test_splits_share_no_combination_and_cover_all() -> None:
    parts = [set(products_of(split)) for split in Split]

    assert sum(map(len, parts)) == len(set().union(*parts)) == len(list(all_products()))
    assert len(products_of(Split.TEST)) >= 2_000


def test_attributes_never_tell_the_scene() -> None:
    for product in all_products():
        assert not set(product.attributes().values()) & set(SCENES)
        assert "scene" not in product.attributes()


def test_changing_an_attribute_changes_nothing_else() -> None:
    changed = DRESS.with_attribute("sleeve", "sleeveless")

    assert changed.attributes() == {**DRESS.attributes(), "sleeve": "sleeveless"}
    with pytest.raises(KeyError, match="handle"):
        DRESS.with_attribute("handle", "no handle")
