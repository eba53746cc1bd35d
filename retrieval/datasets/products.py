"""What the synthetic catalog can show: products, their attributes, scenes, and the split of each combination."""

import itertools
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

COLORS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "red": (200, 28, 36),
        "orange": (240, 124, 16),
        "yellow": (246, 212, 36),
        "green": (34, 140, 62),
        "blue": (32, 76, 190),
        "purple": (118, 40, 160),
        "pink": (246, 138, 186),
        "brown": (112, 66, 34),
        "black": (30, 30, 34),
        "white": (238, 238, 236),
    }
)
PATTERNS = ("plain", "striped", "dotted", "checked", "zigzag", "two-tone")
SIZES = ("small", "large")
FINISHES = ("matte", "glossy")
SCENES = ("studio", "snow", "beach", "city", "forest", "kitchen", "library", "night")


@dataclass(frozen=True)
class Category:
    """A kind of product: the name of its own attribute, the values of it, and the price of a small plain one."""

    detail: str
    values: tuple[str, str, str]
    base_price: float


_SLEEVES = ("sleeveless", "short sleeves", "long sleeves")
CATEGORIES: Mapping[str, Category] = MappingProxyType(
    {
        "dress": Category("sleeve", _SLEEVES, 59.0),
        "shirt": Category("sleeve", _SLEEVES, 29.0),
        "trousers": Category("leg", ("slim legs", "wide legs", "cropped legs"), 49.0),
        "skirt": Category("length", ("mini length", "midi length", "maxi length"), 39.0),
        "bag": Category("strap", ("no strap", "top handle", "long strap"), 79.0),
        "boot": Category("shaft", ("low cut", "ankle high", "knee high"), 89.0),
        "hat": Category("brim", ("no brim", "narrow brim", "wide brim"), 19.0),
        "mug": Category("handle", ("no handle", "round handle", "square handle"), 12.0),
        "lamp": Category("shade", ("cone shade", "drum shade", "dome shade"), 69.0),
        "chair": Category("back", ("no back", "low back", "high back"), 99.0),
    }
)
DETAILS: tuple[str, ...] = tuple(dict.fromkeys(category.detail for category in CATEGORIES.values()))
"""Names of the attributes that only some categories have, in catalog order."""


class Split(StrEnum):
    """Part of the attribute combinations (and of the paraphrases) that a data set may use."""

    TRAIN = "train"
    DEV = "dev"
    TEST = "test"


@dataclass(frozen=True, order=True)
class Product:
    """One combination of attributes; `detail` is the value of the category's own attribute (sleeve, strap, …)."""

    category: str
    color: str
    pattern: str
    detail: str
    size: str
    finish: str

    @property
    def detail_name(self) -> str:
        """Name of the category's own attribute, e.g. `sleeve`."""
        return CATEGORIES[self.category].detail

    def attributes(self) -> dict[str, str]:
        """Attribute name -> value, without price and stock. The scene is a property of the photo and never in here."""
        return {
            "category": self.category,
            "color": self.color,
            "pattern": self.pattern,
            self.detail_name: self.detail,
            "size": self.size,
            "finish": self.finish,
        }

    def with_attribute(self, name: str, value: str) -> "Product":
        """The same product with one attribute changed; raises `KeyError` for an attribute it does not have.

        A new category with another detail attribute takes that attribute's first value.
        """
        if name not in self.attributes():
            raise KeyError(f"a {self.category} has no attribute {name!r}; it has {sorted(self.attributes())}")
        if name == "category":
            values = CATEGORIES[value].values
            return replace(self, category=value, detail=self.detail if self.detail in values else values[0])
        return replace(self, **{"detail" if name == self.detail_name else name: value})


@dataclass(frozen=True, order=True)
class Shot:
    """One photo: a product in front of a scene; the seed decides camera, lighting, noise and the scene's clutter."""

    product: Product
    scene: str
    seed: int


def values_of(product: Product, name: str) -> tuple[str, ...]:
    """All values that attribute `name` of `product` can take; raises `KeyError` for an attribute it does not have."""
    choices: dict[str, tuple[str, ...]] = {
        "category": tuple(CATEGORIES),
        "color": tuple(COLORS),
        "pattern": PATTERNS,
        product.detail_name: CATEGORIES[product.category].values,
        "size": SIZES,
        "finish": FINISHES,
    }
    return choices[name]


def attribute_values() -> dict[str, tuple[str, ...]]:
    """Attribute name -> all of its values over every category, in catalog order."""
    details: dict[str, list[str]] = {}
    for category in CATEGORIES.values():
        details.setdefault(category.detail, list(category.values))
    return {
        "category": tuple(CATEGORIES),
        "color": tuple(COLORS),
        "pattern": PATTERNS,
        **{name: tuple(values) for name, values in details.items()},
        "size": SIZES,
        "finish": FINISHES,
    }


def all_products() -> Iterator[Product]:
    """Every combination of attributes (7 200), always in the same order."""
    for name, category in CATEGORIES.items():
        for color, pattern, detail, size, finish in itertools.product(
            COLORS, PATTERNS, category.values, SIZES, FINISHES
        ):
            yield Product(name, color, pattern, detail, size, finish)


def split_of(product: Product) -> Split:
    """The split that owns a combination: half train, a tenth dev, the rest test. Stable across runs and machines."""
    key = f"{product.category}|{product.color}|{product.pattern}|{product.detail}|{product.size}|{product.finish}"
    bucket = zlib.crc32(key.encode()) % 10
    if bucket < 5:  # noqa: PLR2004 - tenths, named in the docstring
        return Split.TRAIN
    return Split.DEV if bucket == 5 else Split.TEST  # noqa: PLR2004


def products_of(split: Split) -> list[Product]:
    """All combinations of a split, in the order of `all_products`."""
    return [product for product in all_products() if split_of(product) is split]


def price_of(product: Product) -> float:
    """Price in euros: depends on the attributes only, so that the same product always costs the same."""
    base = CATEGORIES[product.category].base_price
    factor = (1.25 if product.size == "large" else 1.0) * (1.15 if product.finish == "glossy" else 1.0)
    pattern = 1.0 + 0.04 * PATTERNS.index(product.pattern)
    return round(base * factor * pattern, 2)
