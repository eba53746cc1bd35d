"""Bounds of pictures, from the settings."""

from core.pictures import Limits
from core.settings import MEBIBYTE, Settings

MEGAPIXEL = 1_000_000


def picture_limits(settings: Settings) -> Limits:
    """What a picture of a gallery, or a reference, may be at most."""
    return Limits(
        max_bytes=settings.max_image_mib * MEBIBYTE,
        max_pixels=settings.max_image_megapixels * MEGAPIXEL,
        max_jpeg_pixels=settings.max_jpeg_megapixels * MEGAPIXEL,
    )
