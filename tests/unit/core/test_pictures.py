import hashlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.errors import InvalidInputError, ItemError
from core.formats import Format
from core.pictures import Limits, crop, decode, inspect, validate
from tests import pictures

LIMITS = Limits(max_bytes=50 * 2**20, max_pixels=50_000_000, max_jpeg_pixels=250_000_000)
TOLERANCE = 30


def assert_close(found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    assert len(found) == len(wanted)
    assert max(abs(one - other) for one, other in zip(found, wanted, strict=True)) <= TOLERANCE, (found, wanted)


def assert_scene(picture: Image.Image) -> None:
    assert picture.mode == "RGB"
    assert picture.width > picture.height
    for name, colour in pictures.corners(picture).items():
        assert_close(colour, pictures.CORNERS[name])


def failure(data: bytes, limits: Limits = LIMITS) -> ItemError:
    with pytest.raises(ItemError) as caught:
        validate(data, limits)
    return caught.value


@pytest.mark.filterwarnings("ignore:.*EXIF.*:UserWarning", "ignore:Truncated File Read:UserWarning")
@pytest.mark.parametrize("name", pictures.WELL_FORMED)
def test_every_way_to_store_the_scene_decodes_to_its_colours(name: str) -> None:
    data = pictures.WELL_FORMED[name]()
    assert_scene(decode(data))
    validated = validate(data, LIMITS)
    assert (validated.blob.width, validated.blob.height) == (pictures.WIDTH, pictures.HEIGHT)
    assert_scene(Image.open(io.BytesIO(validated.thumbnail)))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation: int, form: str) -> None:
    data = pictures.rotated(orientation, form)
    assert_scene(decode(data))
    assert "exif" not in decode(data).info
    validated = validate(data, LIMITS)
    assert (validated.blob.width, validated.blob.height) == (pictures.WIDTH, pictures.HEIGHT)
    assert_scene(Image.open(io.BytesIO(validated.thumbnail)))


def test_alpha_is_shown_over_white() -> None:
    found = pictures.corners(decode(pictures.transparent_png()))
    assert found["top_left"] == pictures.RED
    assert found["top_right"] == found["bottom_right"] == pictures.WHITE


def test_a_transparent_palette_entry_is_shown_as_white() -> None:
    found = pictures.corners(decode(pictures.transparent_palette_png()))
    assert found == {**pictures.CORNERS, "top_right": pictures.WHITE}


@pytest.mark.parametrize(
    "data", [pictures.gray16_png(), pictures.gray16_tiff(">"), pictures.gray16_tiff("<")], ids=["png", "tiff>", "tiff<"]
)
def test_16_bit_grey_is_scaled_not_clipped(data: bytes) -> None:
    found = pictures.corners(decode(data))
    assert found["top_left"] == (128, 128, 128)
    assert found["top_right"] == (255, 255, 255)


@pytest.mark.parametrize("name", pictures.BROKEN)
def test_each_broken_file_fails_with_its_own_code(name: str) -> None:
    make, code = pictures.BROKEN[name]
    error = failure(make())
    assert error.item_code == code
    assert error.detail.endswith(".")


def test_a_refused_format_says_what_to_do() -> None:
    assert failure(pictures.heic()).detail == "HEIC pictures are not read: export as JPEG or PNG."


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_file_cut_anywhere_is_truncated(form: str, share: float) -> None:
    data = pictures.noisy(form)
    assert failure(data[: int(len(data) * share)]).item_code == "truncated_image"


@pytest.mark.parametrize("cut", [1, 2, 100, 2000])
@pytest.mark.parametrize("progressive", [False, True])
def test_truncation_shows_at_reduced_scale_too(cut: int, *, progressive: bool) -> None:
    data = pictures.encode(pictures.scene(2000, 1500), "JPEG", progressive=progressive)
    with pytest.raises(ItemError) as caught:
        decode(data[:-cut], max_side_px=200)
    assert caught.value.item_code == "truncated_image"


def test_the_content_decides_not_the_name() -> None:
    assert validate(pictures.webp(), LIMITS).blob.media_type == "image/webp"
    assert inspect(pictures.gif(), LIMITS).kind is Format.GIF


def test_the_blob_describes_the_file() -> None:
    data = pictures.png()
    blob = validate(data, LIMITS).blob
    assert blob.sha256 == hashlib.sha256(data).hexdigest()
    assert (blob.size_bytes, blob.media_type) == (len(data), "image/png")


def test_bytes_are_bounded() -> None:
    data = pictures.png()
    small = Limits(max_bytes=len(data) - 1, max_pixels=10**6, max_jpeg_pixels=10**6)
    assert failure(data, small).item_code == "file_too_large"


def test_a_100_megapixel_jpeg_is_read_at_reduced_scale() -> None:
    data = pictures.huge_jpeg()
    validated = validate(data, LIMITS)
    assert (validated.blob.width, validated.blob.height) == (10_000, 10_000)
    assert Image.open(io.BytesIO(validated.thumbnail)).size == (256, 256)
    small = decode(data, max_side_px=512)
    assert 512 <= small.width < 1024
    assert_close(pictures.corners(small)["top_left"], (90, 90, 90))


def test_a_100_megapixel_png_fails_with_advice() -> None:
    error = failure(pictures.huge_png())
    assert error.item_code == "too_many_pixels"
    assert "10000 x 10000 = 100 megapixels" in error.detail
    assert "JPEG" in error.detail


def test_decoding_an_unvalidated_picture_can_be_bounded_too() -> None:
    with pytest.raises(ItemError) as caught:
        decode(pictures.bomb_png(), limits=LIMITS)
    assert caught.value.item_code == "too_many_pixels"


def test_a_progressive_jpeg_has_the_smaller_bound_because_it_cannot_be_read_row_by_row() -> None:
    limits = Limits(max_bytes=10**8, max_pixels=1_000_000, max_jpeg_pixels=10_000_000)
    assert failure(pictures.huge_jpeg(2000, progressive=True), limits).item_code == "too_many_pixels"
    assert validate(pictures.huge_jpeg(2000), limits).blob.width == 2000


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(3000, 2000), (1000, 700), (400, 300), (640, 1), (1, 2000)])
def test_reduced_pictures_keep_their_shape_and_enough_pixels(form: str, size: tuple[int, int]) -> None:
    data = pictures.encode(pictures.scene(*size), form)
    longer = max(decode(data, max_side_px=300).size)
    assert 300 <= longer < 600
    assert max(size) / longer == pytest.approx(round(max(size) / longer), rel=0.01)


@pytest.mark.parametrize("size", [(1, 1), (5000, 1), (1, 5000)])
def test_thumbnails_of_extreme_shapes_have_at_least_one_pixel(size: tuple[int, int]) -> None:
    validated = validate(pictures.encode(pictures.scene(*size), "PNG"), LIMITS, thumbnail_px=64)
    thumbnail = Image.open(io.BytesIO(validated.thumbnail))
    assert max(thumbnail.size) <= 64
    assert min(thumbnail.size) >= 1


def test_crop_takes_the_named_part() -> None:
    part = crop(pictures.scene(), (0.5, 0.0, 0.5, 0.5))
    assert part.size == (pictures.WIDTH // 2, pictures.HEIGHT // 2)
    assert part.getcolors() == [(part.width * part.height, pictures.GREEN)]


def test_a_tiny_region_is_at_least_one_pixel() -> None:
    assert crop(pictures.scene(), (0.999999, 0.999999, 0.000001, 0.000001)).size == (1, 1)


@pytest.mark.parametrize(
    "region",
    [(-0.1, 0, 1, 1), (0, 0, 0, 1), (0, 0, 1, 1.1), (0.6, 0, 0.5, 1), (float("nan"), 0, 1, 1), (0, 0, float("inf"), 1)],
)
def test_a_region_outside_the_picture_is_refused(region: tuple[float, float, float, float]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        crop(pictures.scene(), region)
    assert caught.value.errors[0].pointer == "/reference/region"


SEEDS = [make() for make in pictures.WELL_FORMED.values()]


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=300)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=8)), max_size=6))
def test_damage_anywhere_is_an_item_error_or_a_picture(seed: bytes, damage: list[tuple[int, bytes]]) -> None:
    data = bytearray(seed)
    for at, patch in damage:
        place = at % len(data)
        data[place : place + len(patch)] = patch
    try:
        validated = validate(bytes(data), LIMITS)
    except ItemError as error:
        assert error.item_code in {  # noqa: PT017 - either outcome is right, this checks one
            "not_an_image",
            "unsupported_format",
            "truncated_image",
            "corrupt_image",
            "too_many_pixels",
        }
    else:
        assert validated.blob.width * validated.blob.height <= LIMITS.max_jpeg_pixels
