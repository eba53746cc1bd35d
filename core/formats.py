"""What a file is, by its content: the allow-list of picture formats, and clear refusals of everything else.

Nothing here decodes pixels; the name or extension of a file never counts.
"""

from dataclasses import dataclass
from enum import StrEnum

from core.errors import ItemError


class Format(StrEnum):
    """The picture formats that are read; the value is the media type."""

    JPEG = "image/jpeg"
    PNG = "image/png"
    WEBP = "image/webp"
    GIF = "image/gif"
    BMP = "image/bmp"
    TIFF = "image/tiff"


_PICTURES = (
    (b"\xff\xd8\xff", Format.JPEG),
    (b"\x89PNG\r\n\x1a\n", Format.PNG),
    (b"GIF87a", Format.GIF),
    (b"GIF89a", Format.GIF),
    (b"II*\0", Format.TIFF),
    (b"MM\0*", Format.TIFF),
    (b"II+\0", Format.TIFF),
    (b"MM\0+", Format.TIFF),
)
_REFUSED = (
    (b"%PDF", "PDF documents"),
    (b"PK\x03\x04", "ZIP archives inside an import"),
    (b"PK\x05\x06", "ZIP archives inside an import"),
    (b"\x1f\x8b", "gzip archives inside an import"),
    (b"7z\xbc\xaf\x27\x1c", "7z archives inside an import"),
    (b"BZh", "bzip2 archives inside an import"),
    (b"\xfd7zXZ\0", "xz archives inside an import"),
    (b"Rar!", "RAR archives inside an import"),
    (b"8BPS", "Photoshop documents"),
    (b"\xff\x0a", "JPEG XL pictures"),
    (b"\0\0\0\x0cJXL ", "JPEG XL pictures"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000 pictures"),
    (b"\xff\x4f\xff\x51", "JPEG 2000 pictures"),
    (b"\0\0\1\0", "icons (ICO)"),
    (b"\x1a\x45\xdf\xa3", "videos (Matroska, WebM)"),
    (b"OggS", "videos (Ogg)"),
    (b"FLV\1", "videos (FLV)"),
    (b"\0\0\1\xba", "videos (MPEG)"),
)
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_TEXT_WINDOW = 1024


def sniff(data: bytes) -> Format:
    """The picture format of a file's content (the first 1024 bytes are enough).

    ItemError `empty_file`, `unsupported_format` (known, but not read) or `not_an_image`.
    """
    if not data:
        raise ItemError("empty_file", "The file has no content: upload it again.")
    for magic, kind in _PICTURES:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF":
        return _sniff_riff(data)
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return Format.BMP
    refused = _known_refusal(data)
    if refused:
        raise ItemError("unsupported_format", f"{refused} are not read: export as JPEG or PNG.")
    raise _no_picture(data)


def _sniff_riff(data: bytes) -> Format:
    if data[8:12] == b"WEBP":
        return Format.WEBP
    if data[8:12] == b"AVI ":
        raise ItemError("unsupported_format", "Videos (AVI) are not read: export a frame as JPEG or PNG.")
    raise _no_picture(data)


def _known_refusal(data: bytes) -> str:
    """Plural name of a known format that is not read; empty when the content is of no known kind."""
    for magic, name in _REFUSED:
        if data.startswith(magic):
            return name[0].upper() + name[1:]
    if data[257:262] == b"ustar":
        return "Tar archives inside an import"
    if data[4:8] == b"ftyp":
        return _iso_media(data)
    text = data[:_TEXT_WINDOW].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text:
        return "SVG drawings"
    return ""


def _iso_media(data: bytes) -> str:
    """HEIC, AVIF, MP4 and MOV share one container; its brands tell them apart."""
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, size, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF pictures"
    if brands & _HEIF_BRANDS:
        return "HEIC pictures"
    return "Videos (MP4, MOV)"


def _no_picture(data: bytes) -> ItemError:
    text = data[:_TEXT_WINDOW].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return ItemError(
            "not_an_image", "The file is a web page, not a picture: check the address that it was downloaded from."
        )
    return ItemError(
        "not_an_image", "The content is of no known picture format: send a JPEG, PNG, WebP, GIF, BMP or TIFF file."
    )


def ends_early(data: bytes, kind: Format) -> bool:
    """Whether the end that the format prescribes is missing (or was padded over); False where it prescribes none."""
    match kind:
        case Format.JPEG:
            scan = jpeg_scan(data)
            return scan is None or data.find(b"\xff\xd9", scan.offset) < 0
        case Format.PNG:
            return b"IEND" not in data[-64:] and data.rfind(b"IEND") < 0
        case Format.GIF:
            return b";" not in data[-64:]
        case Format.WEBP:
            return len(data) < int.from_bytes(data[4:8], "little") + 8
        case Format.BMP:
            return len(data) < int.from_bytes(data[2:6], "little")
        case Format.TIFF:
            return False


@dataclass(frozen=True, slots=True)
class JpegScan:
    """The first scan of a JPEG: where it starts, in bytes, and how its coefficients are stored."""

    offset: int
    progressive: bool
    interleaved: bool

    @property
    def streams(self) -> bool:
        """Whether a decoder needs only a few rows of coefficients at a time, whatever the picture's size."""
        return self.interleaved and not self.progressive


_SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE_MARKERS = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
_FILL, _SOS = 0xFF, 0xDA


def jpeg_scan(data: bytes) -> JpegScan | None:
    """Walk the segments up to the first scan (skipping embedded previews); None when the file ends before it."""
    at, components, progressive = 2, 0, False
    while at + 4 <= len(data):
        if data[at] != _FILL:
            return None
        marker = data[at + 1]
        if marker == _FILL or marker in _BARE_MARKERS:
            at += 1 if marker == _FILL else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SOS:
            return JpegScan(at, progressive, data[at + 4 : at + 5] == bytes([components]))
        if marker in _SOF_MARKERS:
            components = int.from_bytes(data[at + 9 : at + 10], "big")
            progressive = marker in _PROGRESSIVE_MARKERS
        at += 2 + max(length, 2)
    return None


def canvas_size(data: bytes, kind: Format) -> tuple[int, int] | None:
    """Width and height in pixels from the header of formats whose decoders allocate when opened; else None."""
    if kind is Format.GIF:
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if kind is not Format.WEBP:
        return None
    match data[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
        case _:
            return None
