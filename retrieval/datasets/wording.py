"""Words for attribute values and scenes: what captions and relative texts are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Wording:
    """Ways to say one value: before the noun ("a red …", may be empty) and after it ("… with long sleeves")."""

    before: tuple[str, ...]
    after: tuple[str, ...]


NOUNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "dress": ("dress", "gown"),
        "shirt": ("shirt", "top"),
        "trousers": ("trousers", "pants"),
        "skirt": ("skirt",),
        "bag": ("bag", "handbag"),
        "boot": ("boot", "shoe"),
        "hat": ("hat", "cap"),
        "mug": ("mug", "cup"),
        "lamp": ("lamp", "table lamp"),
        "chair": ("chair", "seat"),
    }
)
ANY_PRODUCT = ("product", "item", "one", "thing")

ASPECTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "category": ("kind of product", "type"),
        "color": ("colour", "color"),
        "pattern": ("pattern",),
        "sleeve": ("sleeves", "sleeve length"),
        "leg": ("legs", "leg cut"),
        "length": ("length",),
        "strap": ("strap",),
        "shaft": ("shaft height",),
        "brim": ("brim",),
        "handle": ("handle",),
        "shade": ("shade", "shade shape"),
        "back": ("back",),
        "size": ("size",),
        "finish": ("finish",),
    }
)
"""What people call an attribute ("keep the colour")."""


def _color(word: str, *others: str) -> Wording:
    return Wording((word, word, *others), (f"in {word}", *(f"in {other}" for other in others)))


def _pattern(adjectives: tuple[str, ...], noun: str) -> Wording:
    return Wording(adjectives, (f"with {noun}", f"with a {adjectives[0]} pattern"))


def _with(*nouns: str, before: tuple[str, ...] = ()) -> Wording:
    return Wording(before, tuple(f"with {noun}" for noun in nouns))


WORDINGS: Mapping[str, Wording] = MappingProxyType(
    {
        "red": _color("red", "crimson"),
        "orange": _color("orange", "tangerine"),
        "yellow": _color("yellow", "lemon"),
        "green": _color("green", "emerald"),
        "blue": _color("blue", "navy"),
        "purple": _color("purple", "violet"),
        "pink": _color("pink", "rose"),
        "brown": _color("brown", "chocolate"),
        "black": _color("black", "jet black"),
        "white": _color("white", "ivory"),
        "plain": Wording(("plain", "solid", "unpatterned"), ("without any pattern", "with no pattern", "in plain")),
        "striped": _pattern(("striped", "stripy"), "stripes"),
        "dotted": _pattern(("dotted", "polka dot", "spotted"), "dots"),
        "checked": _pattern(("checked", "checkered", "plaid"), "checks"),
        "zigzag": _pattern(("zigzag", "chevron"), "zigzags"),
        "two-tone": _pattern(("two-tone", "two-coloured"), "two tones"),
        "sleeveless": Wording(("sleeveless",), ("without sleeves", "with no sleeves")),
        "short sleeves": _with("short sleeves", before=("short-sleeved",)),
        "long sleeves": _with("long sleeves", before=("long-sleeved",)),
        "slim legs": _with("slim legs", "narrow legs", before=("slim", "skinny")),
        "wide legs": _with("wide legs", before=("wide-leg",)),
        "cropped legs": _with("cropped legs", before=("cropped",)),
        "mini length": Wording(("mini",), ("in mini length", "above the knee")),
        "midi length": Wording(("midi",), ("in midi length",)),
        "maxi length": Wording(("maxi",), ("in maxi length", "down to the floor")),
        "no strap": Wording(("strapless",), ("without a strap", "with no strap")),
        "top handle": _with("a top handle", "a short handle on top"),
        "long strap": _with("a long strap", "a shoulder strap"),
        "low cut": Wording(("low-cut", "low"), ("with a low cut",)),
        "ankle high": Wording(("ankle-high", "ankle"), ("up to the ankle",)),
        "knee high": Wording(("knee-high", "tall"), ("up to the knee",)),
        "no brim": Wording(("brimless",), ("without a brim", "with no brim")),
        "narrow brim": _with("a narrow brim", before=("narrow-brimmed",)),
        "wide brim": _with("a wide brim", before=("wide-brimmed",)),
        "no handle": Wording(("handleless",), ("without a handle", "with no handle")),
        "round handle": _with("a round handle", "a curved handle"),
        "square handle": _with("a square handle", "an angular handle"),
        "cone shade": _with("a cone shade", "a conical shade"),
        "drum shade": _with("a drum shade", "a cylindrical shade"),
        "dome shade": _with("a dome shade", "a domed shade"),
        "no back": Wording(("backless",), ("without a back", "with no back")),
        "low back": _with("a low back", before=("low-backed",)),
        "high back": _with("a high back", before=("high-backed",)),
        "small": Wording(("small", "little", "tiny"), ("in a small size", "in small")),
        "large": Wording(("large", "big"), ("in a large size", "in large")),
        "matte": Wording(("matte", "dull"), ("with a matte finish", "in matte")),
        "glossy": Wording(("glossy", "shiny"), ("with a glossy finish", "in gloss")),
    }
)
"""Attribute value -> its wording; categories are in `NOUNS`."""

SCENE_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "studio": ("studio", "in a studio", "on a plain backdrop", "a studio photo"),
        "snow": ("snow", "in the snow", "in front of snowy mountains", "winter snow"),
        "beach": ("beach", "on the beach", "by the sea", "sand and sea"),
        "city": ("city", "in the city", "in a street", "in front of buildings"),
        "forest": ("forest", "in the forest", "among trees", "in the woods"),
        "kitchen": ("kitchen", "in the kitchen", "on a kitchen counter", "in front of tiles"),
        "library": ("library", "in a library", "in front of bookshelves", "books on shelves"),
        "night": ("night", "at night", "in front of lights at night", "night lights"),
    }
)
