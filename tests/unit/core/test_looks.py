"""What the perceptual hash forgives, and what it does not."""

import io
from collections.abc import Callable

import pytest
from PIL import Image

from core.looks import looks
from tests import pictures


def scene() -> Image.Image:
    return Image.open(io.BytesIO(pictures.WELL_FORMED["jpeg"]())).convert("RGB")


def recompressed(picture: Image.Image) -> Image.Image:
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=50)
    return Image.open(target).convert("RGB")


def apart(one: Image.Image, other: Image.Image) -> int:
    return ((looks(one).phash ^ looks(other).phash) & (1 << 64) - 1).bit_count()


@pytest.mark.parametrize(
    "change", [recompressed, lambda picture: picture.resize((picture.width // 2, picture.height // 2))]
)
def test_recompressing_and_scaling_hardly_change_it(change: Callable[[Image.Image], Image.Image]) -> None:
    assert apart(scene(), change(scene())) <= 4


def test_a_mirrored_picture_is_another_one() -> None:
    assert apart(scene(), scene().transpose(Image.Transpose.FLIP_LEFT_RIGHT)) > 10


def test_noise_on_a_plain_picture_is_no_look() -> None:
    plain = Image.new("RGB", (80, 80), (240, 240, 240))
    noisy = plain.copy()
    noisy.putpixel((40, 40), (238, 241, 240))
    assert apart(plain, noisy) == 0


def test_the_tint_is_the_mean_colour() -> None:
    assert looks(Image.new("RGB", (50, 70), (200, 100, 7))).tint == 0xC86407


def test_it_fits_what_the_database_holds() -> None:
    found = {looks(scene()).phash, looks(Image.eval(scene(), lambda value: 255 - value)).phash}
    assert all(-(1 << 63) <= phash < 1 << 63 for phash in found)
