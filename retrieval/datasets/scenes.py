"""Backgrounds of the synthetic photos. A scene says nothing about the product in front of it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Rgb = tuple[int, int, int]


def draw_scene(scene: str, rng: np.random.Generator, size_px: int) -> Image.Image:
    """A square RGB backdrop, out of focus as behind a product; raises `KeyError` for an unknown scene."""
    # Backdrops are soft anyway: drawing them small and enlarging costs a quarter of the time.
    small = max(48, size_px // 2)
    image = _SCENES[scene](rng, small)
    blurred = image.filter(ImageFilter.GaussianBlur(small * float(rng.uniform(0.004, 0.014))))
    return blurred.resize((size_px, size_px), Image.Resampling.BILINEAR)


def _gradient(top: Rgb, bottom: Rgb, size: int) -> Image.Image:
    ramp = np.linspace(0.0, 1.0, size, dtype=np.float32)[:, None]
    column = np.asarray(top, np.float32) * (1 - ramp) + np.asarray(bottom, np.float32) * ramp
    return Image.fromarray(np.repeat(column[:, None, :], size, axis=1).round().astype(np.uint8))


def _tint(rng: np.random.Generator, color: Rgb, spread: int) -> Rgb:
    red, green, blue = (int(np.clip(value + rng.integers(-spread, spread + 1), 0, 255)) for value in color)
    return (red, green, blue)


def _below(draw: ImageDraw.ImageDraw, horizon: float, size: int, color: Rgb) -> None:
    draw.rectangle((0, horizon * size, size, size), fill=color)


def _disc(draw: ImageDraw.ImageDraw, center: tuple[float, float], radius: float, color: Rgb) -> None:
    draw.ellipse((center[0] - radius, center[1] - radius, center[0] + radius, center[1] + radius), fill=color)


def _studio(rng: np.random.Generator, size: int) -> Image.Image:
    level = int(rng.integers(150, 215))
    image = _gradient((level + 30,) * 3, (level - 10,) * 3, size)
    glow = Image.new("L", (size, size), 0)
    center = (float(rng.uniform(0.3, 0.7)) * size, 0.4 * size)
    ImageDraw.Draw(glow).ellipse(
        (center[0] - 0.45 * size, center[1] - 0.45 * size, center[0] + 0.45 * size, center[1] + 0.45 * size), fill=90
    )
    image.paste((255, 255, 255), mask=glow.filter(ImageFilter.GaussianBlur(size * 0.15)))
    return image


def _snow(rng: np.random.Generator, size: int) -> Image.Image:
    image = _gradient(_tint(rng, (150, 186, 226), 10), (222, 232, 244), size)
    draw = ImageDraw.Draw(image)
    horizon = float(rng.uniform(0.5, 0.66))
    for _ in range(5):
        x, height, half = rng.uniform(-0.1, 1.1) * size, rng.uniform(0.15, 0.4) * size, rng.uniform(0.15, 0.3) * size
        base = horizon * size
        draw.polygon([(x - half, base), (x, base - height), (x + half, base)], fill=_tint(rng, (176, 196, 222), 12))
        draw.polygon(
            [(x - half / 3, base - height * 0.66), (x, base - height), (x + half / 3, base - height * 0.66)],
            fill=(250, 252, 255),
        )
    _below(draw, horizon, size, _tint(rng, (240, 244, 250), 6))
    for _ in range(60):
        _disc(draw, tuple(rng.uniform(0, size, 2)), float(rng.uniform(0.006, 0.016)) * size, (255, 255, 255))
    return image


def _beach(rng: np.random.Generator, size: int) -> Image.Image:
    image = _gradient(_tint(rng, (92, 178, 236), 14), (190, 226, 246), size)
    draw = ImageDraw.Draw(image)
    horizon = float(rng.uniform(0.36, 0.48))
    shore = horizon + float(rng.uniform(0.14, 0.22))
    _below(draw, horizon, size, _tint(rng, (20, 132, 168), 14))
    sand = _tint(rng, (228, 200, 146), 12)
    edge = [(x * size / 8, (shore + 0.015 * float(rng.normal())) * size) for x in range(9)]
    draw.polygon([*edge, (size, size), (0, size)], fill=sand)
    draw.line(edge, fill=(244, 250, 250), width=max(1, size // 40))
    _disc(draw, (float(rng.uniform(0.1, 0.9)) * size, 0.14 * size), 0.07 * size, (255, 246, 190))
    for _ in range(40):
        spot = (float(rng.uniform(0, 1)) * size, float(rng.uniform(shore + 0.06, 1)) * size)
        _disc(draw, spot, 0.008 * size, _tint(rng, (196, 164, 110), 16))
    return image


def _city(rng: np.random.Generator, size: int) -> Image.Image:
    image = _gradient(_tint(rng, (170, 186, 204), 12), (214, 214, 212), size)
    draw = ImageDraw.Draw(image)
    ground, x = 0.8, -0.05
    while x < 1.0:
        width, top = float(rng.uniform(0.12, 0.24)), float(rng.uniform(0.05, 0.4))
        wall = _tint(rng, (118, 116, 124), 26)
        draw.rectangle((x * size, top * size, (x + width) * size, ground * size), fill=wall)
        pane = _tint(rng, (206, 214, 190), 24) if rng.random() < 0.5 else (60, 70, 86)  # noqa: PLR2004 - a coin
        for row in np.arange(top + 0.04, ground - 0.06, 0.085):
            for column in np.arange(x + 0.02, x + width - 0.03, 0.055):
                draw.rectangle((column * size, row * size, (column + 0.03) * size, (row + 0.045) * size), fill=pane)
        x += width + 0.01
    _below(draw, ground, size, _tint(rng, (84, 84, 90), 8))
    _below(draw, 0.93, size, _tint(rng, (56, 56, 60), 8))
    draw.line((0, 0.965 * size, size, 0.965 * size), fill=(220, 214, 180), width=max(1, size // 60))
    return image


def _forest(rng: np.random.Generator, size: int) -> Image.Image:
    image = _gradient(_tint(rng, (120, 160, 96), 12), (62, 98, 44), size)
    draw = ImageDraw.Draw(image)
    for _ in range(70):
        spot = (float(rng.uniform(0, 1)) * size, float(rng.uniform(0, 0.62)) * size)
        _disc(draw, spot, float(rng.uniform(0.04, 0.1)) * size, _tint(rng, (58, 108, 46), 30))
    _below(draw, 0.78, size, _tint(rng, (74, 84, 36), 10))
    for _ in range(int(rng.integers(5, 9))):
        x, half = float(rng.uniform(0, 1)) * size, float(rng.uniform(0.015, 0.04)) * size
        draw.rectangle((x - half, 0, x + half, 0.84 * size), fill=_tint(rng, (74, 52, 34), 12))
    for _ in range(60):
        x, y = float(rng.uniform(0, 1)) * size, float(rng.uniform(0.78, 1)) * size
        draw.line((x, y, x + rng.normal() * 0.01 * size, y - 0.06 * size), fill=_tint(rng, (96, 128, 44), 26))
    return image


def _kitchen(rng: np.random.Generator, size: int) -> Image.Image:
    tile, grout = _tint(rng, (196, 222, 216), 10), (236, 238, 234)
    image = Image.new("RGB", (size, size), tile)
    draw = ImageDraw.Draw(image)
    step, counter = float(rng.uniform(0.1, 0.14)), float(rng.uniform(0.68, 0.78))
    for index in range(int(1 / step) + 1):
        draw.line((0, index * step * size, size, index * step * size), fill=grout, width=max(1, size // 70))
        draw.line((index * step * size, 0, index * step * size, size), fill=grout, width=max(1, size // 70))
    draw.rectangle((0, 0, size, 0.12 * size), fill=_tint(rng, (170, 122, 76), 14))
    _below(draw, counter, size, _tint(rng, (182, 136, 88), 12))
    for row in np.arange(counter + 0.05, 1, 0.06):
        draw.line((0, row * size, size, row * size), fill=(150, 106, 64))
    draw.rectangle((0, counter * size, size, (counter + 0.025) * size), fill=(218, 184, 140))
    return image


def _library(rng: np.random.Generator, size: int) -> Image.Image:
    image = Image.new("RGB", (size, size), _tint(rng, (66, 42, 26), 8))
    draw = ImageDraw.Draw(image)
    spines: list[Rgb] = [(136, 44, 40), (44, 70, 104), (60, 92, 62), (176, 142, 78), (92, 60, 94), (206, 194, 168)]
    shelf = 0.25
    for row in range(4):
        x = 0.0
        while x < 1.0:
            width, height = float(rng.uniform(0.025, 0.055)), float(rng.uniform(0.14, 0.21))
            bottom = (row + 1) * shelf - 0.025
            color = _tint(rng, spines[int(rng.integers(len(spines)))], 14)
            draw.rectangle((x * size, (bottom - height) * size, (x + width) * size, bottom * size), fill=color)
            x += width + 0.006
        draw.rectangle((0, ((row + 1) * shelf - 0.025) * size, size, (row + 1) * shelf * size), fill=(112, 74, 44))
    return image


def _night(rng: np.random.Generator, size: int) -> Image.Image:
    image = _gradient(_tint(rng, (12, 14, 36), 6), (34, 28, 58), size)
    draw = ImageDraw.Draw(image)
    lights: list[Rgb] = [(255, 190, 90), (250, 110, 96), (120, 190, 255), (255, 236, 180), (190, 120, 250)]
    for _ in range(int(rng.integers(16, 26))):
        spot = (float(rng.uniform(0, 1)) * size, float(rng.uniform(0.02, 0.75)) * size)
        color = lights[int(rng.integers(len(lights)))]
        _disc(draw, spot, float(rng.uniform(0.02, 0.055)) * size, color)
    _below(draw, 0.82, size, _tint(rng, (30, 30, 44), 6))
    return image


_SCENES: Mapping[str, Callable[[np.random.Generator, int], Image.Image]] = MappingProxyType(
    {
        "studio": _studio,
        "snow": _snow,
        "beach": _beach,
        "city": _city,
        "forest": _forest,
        "kitchen": _kitchen,
        "library": _library,
        "night": _night,
    }
)
