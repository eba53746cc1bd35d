"""Draws product photos: silhouette, pattern, light and gloss in front of a scene. Same shot and size, same pixels."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from retrieval.datasets.products import COLORS, Product, Shot
from retrieval.datasets.scenes import draw_scene
from retrieval.datasets.shapes import Layer, Part, shape_of

Floats = NDArray[np.floating[Any]]

_SHADING_PX = 96
"""Light changes slowly over a product: it is computed at this size and enlarged."""


@dataclass(frozen=True)
class _Camera:
    """Where the product's unit box lands in the photo; lengths are fractions of the photo's side."""

    center: tuple[float, float]
    scale: float
    angle: float
    mirrored: bool
    pattern_phase: tuple[float, float]

    def project(self, points: tuple[tuple[float, float], ...], size: int) -> list[tuple[float, float]]:
        """Unit-box points -> pixel coordinates of a `size` x `size` canvas."""
        cos, sin = np.cos(self.angle) * self.scale * size, np.sin(self.angle) * self.scale * size
        sign = -1.0 if self.mirrored else 1.0
        left, top = self.center[0] * size, self.center[1] * size
        return [(left + sign * x * cos - y * sin, top + sign * x * sin + y * cos) for x, y in points]


def draw(shot: Shot, size_px: int) -> Image.Image:
    """The photo as a square RGB image of `size_px`; readable from 64 px on."""
    rng = _generator(shot)
    camera = _camera(shot.product, rng)
    scene = np.asarray(draw_scene(shot.scene, rng, size_px), dtype=np.float32)
    parts = shape_of(shot.product.category, shot.product.detail)
    body, back, seam = (_coverage(parts, layer, camera, size_px) for layer in ("body", "back", "seam"))
    canvas: Floats = scene * (1.0 - 0.4 * _shadow(np.maximum(body, back), rng))[..., None]
    shade = _shading(body, rng)
    rgb = np.asarray(COLORS[shot.product.color], dtype=np.float32) + rng.normal(0.0, 4.0, 3).astype(np.float32)
    canvas = _over(canvas, np.clip(0.62 * rgb + 16.0, 0, 255)[None, None] * shade[..., None], back)
    surface: Floats = _surface(shot.product, camera, rgb, size_px) * shade[..., None]
    if shot.product.finish == "glossy":
        surface = _with_gloss(surface, camera, size_px, rng)
    canvas = _over(canvas, surface, body)
    canvas *= (1.0 - 0.32 * (seam * np.maximum(body, back)))[..., None]
    return _develop(canvas, rng)


def product_mask(shot: Shot, size_px: int) -> Floats:
    """Where the product is in `draw(shot, size_px)`: float32 [size_px, size_px], 1 where it covers the pixel."""
    camera = _camera(shot.product, _generator(shot))
    parts = shape_of(shot.product.category, shot.product.detail)
    return np.maximum(_coverage(parts, "body", camera, size_px), _coverage(parts, "back", camera, size_px))


def encode_jpeg(image: Image.Image, *, quality: int = 88) -> bytes:
    """JPEG bytes of an RGB image, the same on every run with the same Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def _generator(shot: Shot) -> np.random.Generator:
    return np.random.default_rng([shot.seed, 20_240_601])


def _camera(product: Product, rng: np.random.Generator) -> _Camera:
    base = 0.56 if product.size == "small" else 0.87
    scale = base * float(rng.uniform(0.94, 1.06))
    play = max(0.02, (1.0 - scale) * 0.3)
    return _Camera(
        center=(0.5 + float(rng.uniform(-play, play)), 0.5 + float(rng.uniform(-play, play)) * 0.8),
        scale=scale,
        angle=float(rng.normal(0.0, 0.06)),
        mirrored=bool(rng.random() < 0.5),  # noqa: PLR2004 - a coin
        pattern_phase=(float(rng.random()), float(rng.random())),
    )


def _coverage(parts: list[Part], layer: Layer, camera: _Camera, size: int) -> Floats:
    """How much of each pixel a layer covers, float32 [size, size] in 0..1 (drawn at twice the size, then reduced)."""
    mask = Image.new("L", (size * 2, size * 2), 0)
    pen = ImageDraw.Draw(mask)
    for part in parts:
        if part.layer != layer:
            continue
        points = camera.project(part.points, size * 2)
        if part.width:
            pen.line(points, fill=255, width=max(1, round(part.width * camera.scale * size * 2)), joint="curve")
        else:
            pen.polygon(points, fill=255)
    return np.asarray(mask.reduce(2), dtype=np.float32) / 255.0


def _blurred(values: Floats, size: int, radius: float) -> Image.Image:
    """`values` in 0..1 as a blurred 8-bit image of `size` pixels; radius in those pixels."""
    image = Image.fromarray((values * 255.0).astype(np.uint8)).resize((size, size), Image.Resampling.BOX)
    return image.filter(ImageFilter.GaussianBlur(radius))


def _enlarged(values: Floats, size: int) -> Floats:
    image = Image.fromarray(values).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.float32)


def _shadow(mask: Floats, rng: np.random.Generator) -> Floats:
    soft = np.asarray(_blurred(mask, _SHADING_PX, _SHADING_PX * 0.03), dtype=np.float32) / 255.0
    shift = (int(rng.integers(2, 6)), int(rng.integers(-4, 5)))
    return _enlarged(np.roll(soft, shift, axis=(0, 1)), mask.shape[0])


def _shading(body: Floats, rng: np.random.Generator) -> Floats:
    """Light on a pillow-shaped body plus soft folds: a factor of about 0.7 to 1.15 for every pixel."""
    small = np.asarray(_blurred(body, _SHADING_PX, _SHADING_PX * 0.06), dtype=np.float32) / 255.0
    slope_y, slope_x = np.gradient(small)
    angle = float(rng.uniform(0.2, np.pi - 0.2))
    light = slope_x * np.cos(angle) + slope_y * np.sin(angle)
    ramp = np.linspace(0.0, 1.0, _SHADING_PX, dtype=np.float32)
    wave = np.sin(2 * np.pi * (ramp[None, :] * rng.uniform(2, 5) + ramp[:, None] * rng.uniform(-1.5, 1.5)))
    shade = 0.97 + 2.6 * light + 0.035 * wave
    return _enlarged(np.clip(shade, 0.62, 1.16).astype(np.float32), body.shape[0])


def _surface(product: Product, camera: _Camera, rgb: Floats, size: int) -> Floats:
    """Colour and pattern before light, float32 [size, size, 3]."""
    if product.pattern == "plain":
        return np.broadcast_to(rgb, (size, size, 3))
    amount = _pattern(product, camera, size)[..., None]
    return rgb * (1.0 - amount) + _second_color(product.color) * amount


def _second_color(color: str) -> Floats:
    """Lighter than the product, except on light ones: so that white with grey never reads as grey with white."""
    tones = {"white": (120, 120, 128), "yellow": (255, 252, 228), "black": (196, 196, 202)}
    return np.asarray(tones.get(color, (250, 246, 238)), dtype=np.float32)


def _pattern(product: Product, camera: _Camera, size: int) -> Floats:
    """Share of the second colour per pixel, in 0..1; the motif keeps its size in the photo, as cloth does."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = axis[None, :] - camera.center[0], axis[:, None] - camera.center[1]
    cos, sin = np.float32(np.cos(camera.angle)), np.float32(np.sin(camera.angle))
    across, down = x * cos + y * sin, y * cos - x * sin
    pattern = product.pattern
    if pattern == "two-tone":
        return _edge(down - np.float32(_waist(product) * camera.scale), size)
    period = np.float32(0.098)
    u = across / period + np.float32(camera.pattern_phase[0])
    v = down / period + np.float32(camera.pattern_phase[1])
    soften = size * float(period)
    if pattern == "striped":
        return _edge(0.19 - np.abs(_centred(v)), soften)
    if pattern == "checked":
        return np.maximum(_edge(0.13 - np.abs(_centred(u)), soften), _edge(0.13 - np.abs(_centred(v)), soften))
    if pattern == "zigzag":
        return _edge(0.2 - np.abs(_centred(v * 0.9 + 1.5 * np.abs(_centred(u * 0.62)))), soften)
    u = u + 0.5 * (np.floor(v) % 2)
    return _edge(0.3 - np.hypot(_centred(u), _centred(v)), soften)


def _waist(product: Product) -> float:
    """Height of the middle of the coloured parts, in unit-box coordinates: where two-tone changes colour."""
    parts = shape_of(product.category, product.detail)
    heights = [y for part in parts if part.layer == "body" for _, y in part.points]
    return (min(heights) + max(heights)) / 2


def _centred(values: Floats) -> Floats:
    """Distance to the middle of the unit cell that a coordinate falls in, signed."""
    distance: Floats = values - np.floor(values) - np.float32(0.5)
    return distance


def _edge(distance: Floats, sharpness: float) -> Floats:
    """Anti-aliased step: 0 outside, 1 inside, one pixel wide when sharpness is pixels per unit."""
    share: Floats = np.clip(distance * np.float32(sharpness) + 0.5, 0.0, 1.0)
    return share


def _with_gloss(surface: Floats, camera: _Camera, size: int, rng: np.random.Generator) -> Floats:
    """A bright diagonal reflection with a dark one beside it, so that gloss also shows on white."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    place = float(rng.uniform(-0.06, 0.06))
    along = ((axis[None, :] - camera.center[0]) * 0.82 + (axis[:, None] - camera.center[1]) * 0.57) / camera.scale
    bright = np.exp(-(((along - place) / 0.05) ** 2))[..., None].astype(np.float32)
    dark = np.exp(-(((along - place - 0.13) / 0.06) ** 2))[..., None].astype(np.float32)
    lit: Floats = surface * (1.0 - 0.4 * dark) * (1.0 - 0.85 * bright) + 255.0 * 0.85 * bright
    return lit


def _over(canvas: Floats, paint: Floats, coverage: Floats) -> Floats:
    alpha = coverage[..., None]
    return canvas * (1.0 - alpha) + paint * alpha


def _develop(canvas: Floats, rng: np.random.Generator) -> Image.Image:
    """Exposure, white balance, vignette and sensor noise; float32 [size, size, 3] -> RGB image."""
    size = canvas.shape[0]
    gains = float(rng.uniform(0.92, 1.08)) * (1.0 + rng.normal(0.0, 0.012, 3))
    axis = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    vignette = 1.0 - float(rng.uniform(0.02, 0.1)) * (axis[:, None] ** 2 + axis[None, :] ** 2)
    noise = rng.standard_normal((size, size), dtype=np.float32) * np.float32(rng.uniform(1.0, 4.0))
    photo = canvas * gains.astype(np.float32) * vignette[..., None] + noise[..., None]
    return Image.fromarray(np.clip(photo, 0, 255).astype(np.uint8))
