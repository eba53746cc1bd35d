"""Picture files at the edge: checked against bounds from their headers, then decoded once.

No process-wide setting of Pillow is touched: the decoders of the allow-list are opened directly, with bounds of our own
instead of Pillow's, and truncated files stay errors. Every function is thread-safe.
"""

import hashlib
import io
import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import Image as Picture
from PIL.Image import Resampling, Transpose
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from core.errors import FieldError, InvalidInputError, ItemError
from core.formats import Format, canvas_size, ends_early, jpeg_scan, sniff
from core.looks import looks
from core.models import Blob

THUMBNAIL_MEDIA_TYPE = "image/jpeg"

_THUMBNAIL_QUALITY = 80
_MEGA = 1_000_000
_OPENERS: dict[Format, type[ImageFile.ImageFile]] = {
    Format.JPEG: JpegImageFile,
    Format.PNG: PngImageFile,
    Format.WEBP: WebPImageFile,
    Format.GIF: GifImageFile,
    Format.BMP: BmpImageFile,
    Format.TIFF: TiffImageFile,
}
# What Pillow's decoders raise on bytes that are not what their header promises.
_UNDECODABLE = (
    ArithmeticError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_FIRST_LYING = 5
_ORIENTATION_TAG = 0x0112
_SHORT = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one picture. `max_jpeg_pixels` holds for JPEGs that are decoded row by row at reduced scale."""

    max_bytes: int
    max_pixels: int
    max_jpeg_pixels: int


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a picture's header says. Width and height in pixels, as stored (before any EXIF rotation)."""

    kind: Format
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Validated:
    """A picture that decodes to its end: its description (upright size), and a thumbnail as THUMBNAIL_MEDIA_TYPE."""

    blob: Blob
    thumbnail: bytes


def inspect(data: bytes, limits: Limits) -> Inspected:
    """Recognise the picture by content and check every bound, without decoding a pixel.

    ItemError: `empty_file`, `file_too_large`, `unsupported_format`, `not_an_image`, `too_many_pixels`,
    `truncated_image`, `corrupt_image`.
    """
    kind, picture = _open(data, limits)
    return Inspected(kind, *picture.size)


def decode(data: bytes, *, max_side_px: int | None = None, limits: Limits | None = None) -> Picture:
    """The picture as upright 8-bit RGB: first frame, alpha over white, colour profiles not applied.

    With `max_side_px` a larger picture is reduced by a whole factor (JPEGs already while decoding): the longer side is
    then at least `max_side_px` and less than twice that. Without `limits` only for files that passed `validate`.
    ItemError as for `validate`.
    """
    kind, picture = _open(data, limits)
    return _load(data, kind, picture, max_side_px)


def validate(data: bytes, limits: Limits, *, thumbnail_px: int = 256) -> Validated:
    """Check, decode to the end and describe a picture file, in one decode.

    The thumbnail's longer side is at most `thumbnail_px`. ItemError as for `inspect`; also `truncated_image` or
    `corrupt_image` when the pixels cannot be read to their end.
    """
    kind, picture = _open(data, limits)
    width, height = picture.size
    small = _load(data, kind, picture, thumbnail_px)
    if kind is not Format.TIFF and _orientation(picture) >= _FIRST_LYING:  # Pillow's TIFF sizes are upright already
        width, height = height, width
    seen = looks(small)
    blob = Blob(
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        width=width,
        height=height,
        media_type=kind.value,
        phash=seen.phash,
        tint=seen.tint,
    )
    return Validated(blob, _thumbnail(small, thumbnail_px))


def _check_region(region: tuple[float, float, float, float], *, pointer: str = "/reference/region") -> None:
    """InvalidInputError unless `region` is [x, y, width, height] within the picture, as shares 0..1."""
    x, y, width, height = region
    slack = 1e-6
    inside = x >= 0 and y >= 0 and width > 0 and height > 0 and x + width <= 1 + slack and y + height <= 1 + slack
    if not (inside and all(map(math.isfinite, region))):
        problem = "must be [x, y, width, height] within the picture, each 0..1, width and height above 0"
        raise InvalidInputError(f"The region {problem}.", errors=(FieldError(pointer, problem),))


def crop(picture: Picture, region: tuple[float, float, float, float]) -> Picture:
    """The part of an upright picture that `region` = [x, y, width, height] names in shares 0..1; at least one pixel.

    InvalidInputError when the region is not within the picture.
    """
    _check_region(region)
    x, y, width, height = region
    left = min(math.floor(x * picture.width), picture.width - 1)
    top = min(math.floor(y * picture.height), picture.height - 1)
    right = min(max(math.ceil((x + width) * picture.width - 1e-6), left + 1), picture.width)
    bottom = min(max(math.ceil((y + height) * picture.height - 1e-6), top + 1), picture.height)
    return picture.crop((left, top, right, bottom))


def _open(data: bytes, limits: Limits | None) -> tuple[Format, ImageFile.ImageFile]:
    if limits is not None and len(data) > limits.max_bytes:
        raise ItemError(
            "file_too_large",
            f"The file has {len(data)} bytes, more than the {limits.max_bytes} allowed: send a smaller version.",
        )
    kind = sniff(data)
    canvas = canvas_size(data, kind)
    if limits is not None and canvas is not None:
        _check_pixels(canvas, limits.max_pixels, kind)
    try:
        picture = _OPENERS[kind](io.BytesIO(data))
    except _BOMB as error:
        raise ItemError("too_many_pixels", "The picture has too many pixels to be read: send a smaller one.") from error
    except _UNDECODABLE as error:
        raise _undecodable(data, kind, error) from error
    if limits is not None:
        _check_pixels(picture.size, _pixel_bound(data, kind, limits), kind)
    return kind, picture


def _pixel_bound(data: bytes, kind: Format, limits: Limits) -> int:
    """Progressive and multi-scan JPEGs keep all coefficients in memory, whatever the scale they are decoded at."""
    scan = jpeg_scan(data) if kind is Format.JPEG else None
    return max(limits.max_jpeg_pixels, limits.max_pixels) if scan is not None and scan.streams else limits.max_pixels


def _check_pixels(size: tuple[int, int], bound: int, kind: Format) -> None:
    width, height = size
    if width * height > bound:
        advice = "a smaller one" if kind is Format.JPEG else "a smaller one, or a baseline JPEG"
        raise ItemError(
            "too_many_pixels",
            f"The picture has {width} x {height} = {width * height / _MEGA:.0f} megapixels; "
            f"at most {bound / _MEGA:.0f} are read from a file of its kind ({kind}): send {advice}.",
        )


def _load(data: bytes, kind: Format, picture: ImageFile.ImageFile, max_side_px: int | None) -> Picture:
    if max_side_px is not None:
        share = max_side_px / max(picture.size)
        if share < 1:
            picture.draft(None, (math.ceil(picture.width * share), math.ceil(picture.height * share)))
    try:
        picture.load()
        flat = _flatten(picture)
    except _BOMB as error:
        raise ItemError("too_many_pixels", "The picture has too many pixels to be read: send a smaller one.") from error
    except _UNDECODABLE as error:
        raise _undecodable(data, kind, error) from error
    if kind is Format.JPEG and ends_early(data, kind):  # cut and padded: libjpeg paints what is missing grey
        raise _truncated()
    factor = 1 if max_side_px is None else max(flat.size) // max_side_px
    if factor > 1:
        flat = flat.reduce(factor)
    return _upright(flat, _orientation(picture))


def _flatten(picture: Picture) -> Picture:
    """A plain RGB picture without metadata, so that nobody turns it a second time."""
    if picture.mode.startswith("I;16"):
        flat = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    elif picture.mode in {"I", "F", "LAB"}:
        raise ItemError(
            "unsupported_format",
            f"Pixels of kind {picture.mode} (32-bit or Lab) are not read: export as 8-bit JPEG or PNG.",
        )
    elif picture.has_transparency_data:
        layer = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        flat = Image.new("RGB", picture.size, (255, 255, 255))
        flat.paste(layer, mask=layer.getchannel("A"))
    else:
        flat = picture.copy() if picture.mode == "RGB" else picture.convert("RGB")
    flat.info = {}
    return flat


def _upright(picture: Picture, orientation: int) -> Picture:
    turn = _UPRIGHT.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def _orientation(picture: ImageFile.ImageFile) -> int:
    """EXIF orientation 1..8. Damaged EXIF counts as none, as every viewer has it: the pixels are intact."""
    exif = picture.info.get("exif")
    if not isinstance(exif, bytes):
        return 1
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for index in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, start + 2 + 12 * index)
            if tag == _ORIENTATION_TAG and kind == _SHORT:
                return int(value)
    except struct.error:
        return 1
    return 1


def _thumbnail(picture: Picture, longest_px: int) -> bytes:
    share = min(1.0, longest_px / max(picture.size))
    size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
    small = picture if size == picture.size else picture.resize(size, Resampling.BICUBIC)
    target = io.BytesIO()
    small.save(target, "JPEG", quality=_THUMBNAIL_QUALITY)
    return target.getvalue()


def _truncated() -> ItemError:
    return ItemError("truncated_image", "The picture's data ends before the picture does: upload the file again.")


def _undecodable(data: bytes, kind: Format, error: Exception) -> ItemError:
    if ends_early(data, kind) or "truncated" in str(error).lower():
        return _truncated()
    name = kind.name if kind is not Format.WEBP else "WebP"
    return ItemError("corrupt_image", f"The {name} data is damaged and cannot be decoded: export the picture again.")
