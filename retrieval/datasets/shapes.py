"""Silhouettes of the synthetic products: plain geometry in a unit box, [-0.5, 0.5] on both axes, y pointing down."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Point = tuple[float, float]
Layer = Literal["back", "body", "seam"]


@dataclass(frozen=True)
class Part:
    """A polygon (`width` 0) or a thick line of a product.

    Layers: `back` is drawn first in a darker tone of the product (handles, legs, stands), `body` carries colour,
    pattern and gloss, `seam` is a thin dark line on top.
    """

    layer: Layer
    points: tuple[Point, ...]
    width: float = 0.0


def shape_of(category: str, detail: str) -> list[Part]:
    """Parts of a product; raises `KeyError` for a category or detail that the catalog does not have."""
    return _SHAPES[category](detail)


def _body(*points: Point) -> Part:
    return Part("body", points)


def _back(*points: Point, width: float = 0.0) -> Part:
    return Part("back", points, width)


def _seam(*points: Point) -> Part:
    return Part("seam", points, 0.012)


def _arc(center: Point, radius: Point, degrees: Point) -> tuple[Point, ...]:
    start, stop = (math.radians(angle) for angle in degrees)
    return tuple(
        (
            center[0] + radius[0] * math.cos(start + (stop - start) * step / 24),
            center[1] + radius[1] * math.sin(start + (stop - start) * step / 24),
        )
        for step in range(25)
    )


def _mirrored(part: Part) -> list[Part]:
    return [part, Part(part.layer, tuple((-x, y) for x, y in part.points), part.width)]


def _sleeves(detail: str, shoulder: float, top: float) -> list[Part]:
    if detail == "sleeveless":
        return []
    reach, drop = (0.15, 0.2) if detail == "short sleeves" else (0.24, 0.64)
    sleeve = _body(
        (shoulder - 0.04, top),
        (shoulder + 0.04, top + 0.03),
        (shoulder + reach, top + drop),
        (shoulder + reach - 0.12, top + drop + 0.04),
        (shoulder - 0.05, top + 0.2),
    )
    seam = _seam((shoulder - 0.02, top + 0.02), (shoulder - 0.03, top + 0.2))
    return [*_mirrored(sleeve), *_mirrored(seam)]


def _dress(detail: str) -> list[Part]:
    body = _body(
        (-0.17, -0.48), (-0.08, -0.48), (0.0, -0.38), (0.08, -0.48), (0.17, -0.48),
        (0.15, -0.28), (0.12, -0.12), (0.36, 0.48), (-0.36, 0.48), (-0.12, -0.12), (-0.15, -0.28),
    )  # fmt: skip
    return [body, *_sleeves(detail, 0.17, -0.48), _seam((-0.12, -0.12), (0.12, -0.12))]


def _shirt(detail: str) -> list[Part]:
    if detail == "sleeveless":
        top = _body(
            (-0.17, -0.44), (-0.09, -0.44), (-0.06, -0.22), (0.06, -0.22), (0.09, -0.44), (0.17, -0.44),
            (0.18, -0.22), (0.27, -0.1), (0.26, 0.38), (-0.26, 0.38), (-0.27, -0.1), (-0.18, -0.22),
        )  # fmt: skip
        return [top, _seam((-0.26, 0.32), (0.26, 0.32))]
    body = _body(
        (-0.24, -0.4), (-0.1, -0.42), (0.0, -0.34), (0.1, -0.42), (0.24, -0.4),
        (0.25, -0.1), (0.26, 0.38), (-0.26, 0.38), (-0.25, -0.1),
    )  # fmt: skip
    return [body, *_sleeves(detail, 0.24, -0.4), _seam((0.0, -0.34), (0.0, 0.38))]


def _trousers(detail: str) -> list[Part]:
    bottom = 0.1 if detail == "cropped legs" else 0.48
    outer, inner = {"slim legs": (0.2, 0.07), "wide legs": (0.36, 0.06), "cropped legs": (0.24, 0.06)}[detail]
    body = _body(
        (-0.2, -0.48), (0.2, -0.48), (outer, bottom), (inner, bottom), (0.0, -0.16), (-inner, bottom), (-outer, bottom)
    )
    return [body, _seam((-0.2, -0.4), (0.2, -0.4))]


def _skirt(detail: str) -> list[Part]:
    bottom, half = {"mini length": (0.0, 0.3), "midi length": (0.24, 0.36), "maxi length": (0.49, 0.42)}[detail]
    body = _body((-0.17, -0.42), (0.17, -0.42), (half, bottom), (-half, bottom))
    pleats = [_seam((x * 0.4, -0.3), (x, bottom)) for x in (-half / 2, 0.0, half / 2)]
    return [body, _seam((-0.18, -0.35), (0.18, -0.35)), *pleats]


def _bag(detail: str) -> list[Part]:
    body = _body((-0.36, -0.08), (0.36, -0.08), (0.42, 0.4), (0.36, 0.46), (-0.36, 0.46), (-0.42, 0.4))
    flap = [_seam((-0.38, 0.06), (0.0, 0.2)), _seam((0.0, 0.2), (0.38, 0.06))]
    if detail == "top handle":
        return [_back(*_arc((0.0, -0.06), (0.16, 0.2), (180, 360)), width=0.055), body, *flap]
    if detail == "long strap":
        return [_back(*_arc((0.0, -0.02), (0.36, 0.47), (180, 360)), width=0.03), body, *flap]
    return [body, *flap]


def _boot(detail: str) -> list[Part]:
    top = {"low cut": 0.12, "ankle high": -0.12, "knee high": -0.48}[detail]
    body = _body(
        (-0.26, top), (0.02, top), (0.04, 0.14), (0.2, 0.2), (0.38, 0.28), (0.42, 0.4), (-0.28, 0.4), (-0.27, 0.1)
    )
    sole = _back((-0.3, 0.38), (0.44, 0.38), (0.44, 0.45), (-0.08, 0.45), (-0.1, 0.47), (-0.3, 0.47))
    return [sole, body, _seam((0.04, 0.14), (-0.08, 0.3)), _seam((-0.28, 0.36), (0.42, 0.36))]


def _hat(detail: str) -> list[Part]:
    crown = _body((-0.25, 0.14), *_arc((0.0, -0.02), (0.25, 0.3), (180, 360)), (0.25, 0.14))
    if detail == "no brim":
        return [crown, _seam((-0.25, 0.02), (0.25, 0.02))]
    half = 0.34 if detail == "narrow brim" else 0.5
    brim = _body(*_arc((0.0, 0.15), (half, 0.075), (0, 360)))
    return [brim, crown, _seam(*_arc((0.0, 0.06), (0.25, 0.06), (0, 180)))]


def _mug(detail: str) -> list[Part]:
    body = _body((-0.32, -0.36), (0.2, -0.36), (0.18, 0.34), (0.12, 0.4), (-0.24, 0.4), (-0.3, 0.34))
    rim = _seam(*_arc((-0.06, -0.36), (0.26, 0.05), (0, 360)))
    if detail == "round handle":
        return [_back(*_arc((0.2, 0.0), (0.24, 0.2), (-90, 90)), width=0.075), body, rim]
    if detail == "square handle":
        return [_back((0.16, -0.22), (0.42, -0.22), (0.42, 0.2), (0.16, 0.2), width=0.075), body, rim]
    return [body, rim]


def _lamp(detail: str) -> list[Part]:
    stand = [_back((0.0, 0.0), (0.0, 0.44), width=0.045), _back(*_arc((0.0, 0.45), (0.2, 0.045), (0, 360)))]
    shades: dict[str, tuple[Point, ...]] = {
        "cone shade": ((-0.08, -0.48), (0.08, -0.48), (0.38, 0.1), (-0.38, 0.1)),
        "drum shade": ((-0.32, -0.44), (0.32, -0.44), (0.32, 0.08), (-0.32, 0.08)),
        "dome shade": ((-0.38, 0.06), *_arc((0.0, 0.06), (0.38, 0.5), (180, 360)), (0.38, 0.06)),
    }
    return [*stand, _body(*shades[detail])]


def _chair(detail: str) -> list[Part]:
    legs = [_back((x, 0.12), (x * 1.12, 0.48), width=0.05) for x in (-0.26, -0.1, 0.1, 0.26)]
    seat = _body((-0.3, 0.02), (0.3, 0.02), (0.36, 0.2), (-0.36, 0.2))
    if detail == "no back":
        return [*legs, seat]
    top = -0.18 if detail == "low back" else -0.5
    back = _body((-0.28, top), (0.28, top), (0.3, 0.06), (-0.3, 0.06))
    return [*legs, back, seat, _seam((-0.3, 0.04), (0.3, 0.04))]


_SHAPES: Mapping[str, Callable[[str], list[Part]]] = MappingProxyType(
    {
        "dress": _dress,
        "shirt": _shirt,
        "trousers": _trousers,
        "skirt": _skirt,
        "bag": _bag,
        "boot": _boot,
        "hat": _hat,
        "mug": _mug,
        "lamp": _lamp,
        "chair": _chair,
    }
)
