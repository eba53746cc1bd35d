"""Awkward picture files, drawn on the spot: what shops really upload, and what attackers do.

Well-formed ones show `SCENE`: four corners of known colours, wider than high, so that a wrong turn or a wrong colour
conversion shows.
"""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

RED, GREEN, BLUE, YELLOW, WHITE = (220, 30, 30), (30, 160, 60), (30, 60, 200), (230, 210, 40), (255, 255, 255)
CORNERS = {"top_left": RED, "top_right": GREEN, "bottom_left": BLUE, "bottom_right": YELLOW}
WIDTH, HEIGHT = 96, 64


def scene(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """RGB picture whose quarters have the colours of CORNERS."""
    picture = Image.new("RGB", (width, height), YELLOW)
    picture.paste(RED, (0, 0, width // 2, height // 2))
    picture.paste(GREEN, (width // 2, 0, width, height // 2))
    picture.paste(BLUE, (0, height // 2, width // 2, height))
    return picture


def corners(picture: Image.Image) -> dict[str, tuple[int, ...]]:
    """The colours in the middle of the quarters, keyed as CORNERS."""
    left, right = picture.width // 4, picture.width * 3 // 4
    top, bottom = picture.height // 4, picture.height * 3 // 4
    places = {"top_left": (left, top), "top_right": (right, top)}
    places |= {"bottom_left": (left, bottom), "bottom_right": (right, bottom)}
    pixels = {name: picture.getpixel(place) for name, place in places.items()}
    return {name: pixel if isinstance(pixel, tuple) else (int(pixel or 0),) for name, pixel in pixels.items()}


def encode(picture: Image.Image, form: str, **options: object) -> bytes:
    """The picture as a file of Pillow's format name."""
    target = io.BytesIO()
    picture.save(target, form, **options)
    return target.getvalue()


def jpeg(**options: object) -> bytes:
    return encode(scene(), "JPEG", **{"quality": 92, **options})


def progressive_jpeg() -> bytes:
    return jpeg(progressive=True)


def png() -> bytes:
    return encode(scene(), "PNG")


def webp() -> bytes:
    return encode(scene(), "WEBP", quality=95)


def lossless_webp() -> bytes:
    return encode(scene(), "WEBP", lossless=True)


def bmp() -> bytes:
    return encode(scene(), "BMP")


def tiff() -> bytes:
    return encode(scene(), "TIFF", compression="tiff_lzw")


def gif() -> bytes:
    return encode(scene().quantize(8), "GIF")


def palette_png() -> bytes:
    return encode(scene().quantize(8), "PNG")


def cmyk_jpeg() -> bytes:
    """Pillow writes CMYK the way Adobe does: inverted, with an Adobe marker."""
    return encode(scene().convert("CMYK"), "JPEG", quality=95)


def cmyk_tiff() -> bytes:
    return encode(scene().convert("CMYK"), "TIFF")


def rotated(orientation: int, form: str = "JPEG") -> bytes:
    """The scene stored turned, with the EXIF orientation 1..8 that sets it upright."""
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    stored = scene() if turn is None else scene().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    quality = {} if form == "TIFF" else {"quality": 95}
    return encode(stored, form, exif=exif, **quality)


def damaged_exif_jpeg() -> bytes:
    return jpeg(exif=b"Exif\0\0II*\0\xff\xff\xff\x7f garbage")


def animated(form: str) -> bytes:
    """Two frames; the first is the scene."""
    return encode(scene(), form, save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT), WHITE)], duration=100)


def animated_gif() -> bytes:
    return animated("GIF")


def animated_webp() -> bytes:
    return encode(
        scene(), "WEBP", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT), WHITE)], lossless=True
    )


def transparent_png() -> bytes:
    """The left half is the scene; the right half is invisible, with dark pixels underneath."""
    picture = scene().convert("RGBA")
    picture.paste((10, 10, 10, 0), (WIDTH // 2, 0, WIDTH, HEIGHT))
    return encode(picture, "PNG")


def transparent_palette_png() -> bytes:
    """Palette picture whose green (the top right corner) is transparent."""
    picture = Image.new("P", (WIDTH, HEIGHT), 3)
    picture.putpalette([*RED, *GREEN, *BLUE, *YELLOW])
    picture.paste(0, (0, 0, WIDTH // 2, HEIGHT // 2))
    picture.paste(1, (WIDTH // 2, 0, WIDTH, HEIGHT // 2))
    picture.paste(2, (0, HEIGHT // 2, WIDTH // 2, HEIGHT))
    return encode(picture, "PNG", transparency=1)


def gray16_png() -> bytes:
    """16-bit grey: 0x8000 left, 0xFFFF right."""
    samples = np.full((HEIGHT, WIDTH), 0x8000, dtype=np.uint16)
    samples[:, WIDTH // 2 :] = 0xFFFF
    return encode(Image.fromarray(samples), "PNG")


def gray16_tiff(order: str = ">") -> bytes:
    """As `gray16_png`; Motorola byte order unless said otherwise."""
    samples = np.full((HEIGHT, WIDTH), 0x8000, dtype=np.uint16)
    samples[:, WIDTH // 2 :] = 0xFFFF
    return encode(Image.fromarray(samples.astype(f"{order}u2")), "TIFF")


def rgb16_png() -> bytes:
    """The scene with 16 bits a channel, which Pillow cannot write."""
    samples = (np.asarray(scene()).astype(">u2") * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    return raw_png(WIDTH, HEIGHT, depth=16, colour_type=2, pixels=zlib.compress(rows))


def float_tiff() -> bytes:
    return encode(Image.new("F", (8, 8), 0.5), "TIFF")


def raw_png(width: int, height: int, *, depth: int, colour_type: int, pixels: bytes) -> bytes:
    """A PNG of compressed scan lines; sizes are whatever the header says."""
    header = struct.pack(">2L5B", width, height, depth, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body)) for kind, body in chunks
    )


def huge_png(side: int = 10_000) -> bytes:
    """A valid black PNG of side x side pixels, 1 bit each (100 megapixels in about 12 kB)."""
    packer = zlib.compressobj(1)
    row = bytes(1 + (side + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return raw_png(side, side, depth=1, colour_type=0, pixels=pixels)


def bomb_png() -> bytes:
    """60 000 x 60 000 in the header, next to nothing behind it."""
    return raw_png(60_000, 60_000, depth=8, colour_type=6, pixels=zlib.compress(bytes(1000)))


def bomb_gif() -> bytes:
    return b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + gif()[10:]


def bomb_webp() -> bytes:
    """An extended WebP whose canvas claims 16 383 x 16 383 pixels."""
    side = (16_383 - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<L", 10) + bytes(4) + side + side + webp()[12:]
    return b"RIFF" + struct.pack("<L", len(body)) + body


def bomb_bmp() -> bytes:
    return bmp()[:18] + struct.pack("<ll", 60_000, 60_000) + bmp()[26:]


def huge_jpeg(side: int = 10_000, *, progressive: bool = False) -> bytes:
    """A grey baseline JPEG of side x side pixels (100 megapixels)."""
    return encode(Image.new("L", (side, side), 90), "JPEG", quality=30, progressive=progressive)


def zero_padded_jpeg() -> bytes:
    """Cut in the middle, its length kept: what an interrupted download into a preallocated file leaves."""
    data = encode(_noise(), "JPEG", quality=90)
    return data[: len(data) // 2].ljust(len(data), b"\0")


def noisy(form: str) -> bytes:
    """A picture that does not compress away, so that cutting the file cuts pixels."""
    return encode(_noise(), form)


def _noise() -> Image.Image:
    samples = np.random.default_rng(7).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Image.fromarray(samples)


def heic() -> bytes:
    return struct.pack(">L", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(200)


def heif_generic_brand() -> bytes:
    return struct.pack(">L", 24) + b"ftypmif1" + bytes(4) + b"mif1heic" + bytes(200)


def avif() -> bytes:
    return struct.pack(">L", 24) + b"ftypavif" + bytes(4) + b"avifmif1" + bytes(200)


def mp4() -> bytes:
    return struct.pack(">L", 24) + b"ftypisom" + bytes(4) + b"isomavc1" + bytes(200)


def svg() -> bytes:
    return b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>'


WELL_FORMED: dict[str, Callable[[], bytes]] = {
    make.__name__: make
    for make in (
        jpeg,
        progressive_jpeg,
        png,
        webp,
        lossless_webp,
        bmp,
        tiff,
        gif,
        palette_png,
        rgb16_png,
        cmyk_jpeg,
        cmyk_tiff,
        animated_gif,
        animated_webp,
        damaged_exif_jpeg,
    )
}
"""Files that show the scene, each in its own way."""

BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "empty_file"),
    "text": (lambda: b"sku;price\n1;2\n", "not_an_image"),
    "one byte": (lambda: b"\xff", "not_an_image"),
    "web page": (lambda: b"<!DOCTYPE html><html><body>404</body></html>", "not_an_image"),
    "xml": (lambda: b'<?xml version="1.0"?><feed/>', "not_an_image"),
    "wav": (lambda: b"RIFF\x24\0\0\0WAVEfmt ", "not_an_image"),
    "svg": (svg, "unsupported_format"),
    "heic": (heic, "unsupported_format"),
    "heif with a generic brand": (heif_generic_brand, "unsupported_format"),
    "avif": (avif, "unsupported_format"),
    "video": (mp4, "unsupported_format"),
    "avi": (lambda: b"RIFF\x24\0\0\0AVI LIST", "unsupported_format"),
    "pdf": (lambda: b"%PDF-1.7\n1 0 obj", "unsupported_format"),
    "zip": (lambda: b"PK\x03\x04" + bytes(30), "unsupported_format"),
    "32-bit float tiff": (float_tiff, "unsupported_format"),
    "jpeg signature only": (lambda: b"\xff\xd8\xff", "truncated_image"),
    "png signature only": (lambda: b"\x89PNG\r\n\x1a\n", "truncated_image"),
    "gif signature only": (lambda: b"GIF89a", "truncated_image"),
    "webp signature only": (lambda: b"RIFF\xff\xff\0\0WEBP", "truncated_image"),
    "zero-padded jpeg": (zero_padded_jpeg, "truncated_image"),
    "damaged png": (lambda: png().replace(b"IDAT", b"IDAT\xde\xad", 1), "corrupt_image"),
    "60k x 60k png": (bomb_png, "too_many_pixels"),
    "60k x 60k gif": (bomb_gif, "too_many_pixels"),
    "60k x 60k bmp": (bomb_bmp, "too_many_pixels"),
    "16k x 16k webp": (bomb_webp, "too_many_pixels"),
}
"""Files that cannot be imported, with the code that each must fail with under ordinary limits."""
