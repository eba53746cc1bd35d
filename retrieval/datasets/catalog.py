"""The demo gallery: a ZIP of photos with a CSV manifest, and composed queries that have exactly one right answer."""

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retrieval.datasets.products import DETAILS, SCENES, Product, Shot, Split, price_of, products_of, values_of
from retrieval.datasets.synthetic import draw, encode_jpeg
from retrieval.datasets.texts import Change, Style, relative_text

FAMILY_SIZE = 6
"""A base product and five that differ from it in one or two attributes."""

COLUMNS = ("external_id", "image", "category", "color", "pattern", *DETAILS, "size", "finish", "price", "in_stock")
"""Columns of `catalog.csv`; an attribute that a category does not have is an empty cell."""

_ZIP_DATE = (2024, 1, 1, 0, 0, 0)
_STYLES = (Style.SINGLE, Style.DOUBLE, Style.KEEP, Style.SINGLE, Style.NEGATION)
_MOST_CHANGES = 2


@dataclass(frozen=True)
class CatalogItem:
    """One product of a gallery: its id and the shot that shows it."""

    external_id: str
    shot: Shot
    in_stock: bool

    @property
    def image(self) -> str:
        """Path of the photo inside the ZIP."""
        return f"images/{self.external_id}.jpg"

    def row(self) -> dict[str, str]:
        """The manifest's row; values as text, `in_stock` as true or false."""
        product = self.shot.product
        return {
            "external_id": self.external_id,
            "image": self.image,
            **product.attributes(),
            "price": f"{price_of(product):.2f}",
            "in_stock": str(self.in_stock).lower(),
        }


@dataclass(frozen=True)
class ComposedQuery:
    """A reference of the gallery, what the shopper writes about it, and the one product that is meant."""

    reference: str
    text: str
    target: str
    changes: tuple[Change, ...]
    style: Style


@dataclass(frozen=True)
class _Pair:
    reference: Product
    target: Product
    changes: tuple[Change, ...]


def build_gallery(*, count: int, seed: int, split: Split = Split.TEST) -> list[CatalogItem]:
    """`count` products of a split, no combination twice, grown as families of near relatives; each with its own scene.

    Raises `ValueError` when the split has fewer combinations than `count`.
    """
    allowed = products_of(split)
    if count > len(allowed):
        raise ValueError(f"the {split} split has {len(allowed)} combinations: ask for at most that many, not {count}")
    rng = np.random.default_rng([seed, 1])
    products = _families(allowed, count, rng)
    order = rng.permutation(len(products))
    scenes = rng.integers(len(SCENES), size=count)
    stock = rng.random(count) < 0.85  # noqa: PLR2004 - most products can be bought
    return [
        CatalogItem(
            f"p{number:05d}", Shot(products[index], SCENES[scenes[number]], seed * 1_000_003 + number), bool(ok)
        )
        for number, (index, ok) in enumerate(zip(order, stock, strict=True))
    ]


def write_demo_catalog(
    path: Path, *, count: int = 600, seed: int = 7, size_px: int = 384, progress: Callable[[int], None] | None = None
) -> list[CatalogItem]:
    """Write the gallery as a ZIP (`catalog.csv` and `images/*.jpg`); same arguments, same bytes.

    `progress` is called with the number of photos drawn so far.
    """
    items = build_gallery(count=count, seed=seed)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("catalog.csv", _ZIP_DATE), manifest_csv(items))
        for done, item in enumerate(items, start=1):
            archive.writestr(zipfile.ZipInfo(item.image, _ZIP_DATE), encode_jpeg(draw(item.shot, size_px)))
            if progress is not None:
                progress(done)
    return items


def manifest_csv(items: Sequence[CatalogItem]) -> str:
    """The manifest of a gallery as CSV text with `COLUMNS`."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(item.row() for item in items)
    return buffer.getvalue()


def demo_queries(
    *, count: int = 50, seed: int = 7, gallery_count: int = 600, gallery_seed: int = 7, split: Split = Split.TEST
) -> list[ComposedQuery]:
    """Composed queries over `build_gallery(count=gallery_count, seed=gallery_seed)`, styles mixed, no pair twice."""
    items = build_gallery(count=gallery_count, seed=gallery_seed, split=split)
    return queries_over(items, count=count, seed=seed, split=split)


def queries_over(items: Sequence[CatalogItem], *, count: int, seed: int, split: Split) -> list[ComposedQuery]:
    """Queries between products of a gallery that differ in one or two attributes, worded with the split's paraphrases.

    Raises `ValueError` when the gallery has too few such pairs.
    """
    by_product = {item.shot.product: item for item in items}
    rng = np.random.default_rng([seed, 2])
    pairs = _related_pairs(list(by_product))
    if len(pairs) < count:
        raise ValueError(f"only {len(pairs)} pairs of relatives in {len(items)} products: ask for fewer than {count}")
    singles = _varied([pair for pair in pairs if len(pair.changes) == 1], rng)
    doubles = _varied([pair for pair in pairs if len(pair.changes) > 1], rng)
    queries = []
    for number in range(count):
        style = _STYLES[number % len(_STYLES)]
        pair = (doubles if doubles and (style is Style.DOUBLE or not singles) else singles).pop()
        if len(pair.changes) > 1:
            style = Style.DOUBLE
        elif style is Style.DOUBLE:
            style = Style.SINGLE
        kept = _kept(pair.reference, pair.changes, rng)
        text = relative_text(pair.changes, style=style, split=split, rng=rng, kept=kept)
        ids = (by_product[pair.reference].external_id, by_product[pair.target].external_id)
        queries.append(ComposedQuery(ids[0], text.text, ids[1], text.changes, style))
    return queries


def differences(reference: Product, target: Product) -> tuple[Change, ...] | None:
    """The changes that lead from one product to the other; `None` when they have different sets of attributes."""
    old, new = reference.attributes(), target.attributes()
    if old.keys() != new.keys():
        return None
    return tuple(Change(name, old[name], new[name]) for name in old if old[name] != new[name])


def _families(allowed: Sequence[Product], count: int, rng: np.random.Generator) -> list[Product]:
    pool = set(allowed)
    chosen: dict[Product, None] = {}
    while len(chosen) < count:
        base = allowed[int(rng.integers(len(allowed)))]
        if base in chosen:
            continue
        relatives = [product for product in _relatives(base, rng) if product in pool and product not in chosen]
        chosen.update(dict.fromkeys([base, *relatives][: min(FAMILY_SIZE, count - len(chosen))]))
    return list(chosen)


def _relatives(base: Product, rng: np.random.Generator) -> list[Product]:
    """Relatives in random order: about four of five differ in one attribute, the others in two."""
    names = list(base.attributes())
    singles = [
        base.with_attribute(name, value)
        for name in names
        for value in values_of(base, name)
        if value != _get(base, name)
    ]
    relatives = [singles[index] for index in rng.permutation(len(singles))]
    mixed = []
    for single in relatives:
        mixed.append(single)
        if rng.random() < 0.25:  # noqa: PLR2004
            name = names[int(rng.integers(1, len(names)))]
            if name in single.attributes():
                options = [value for value in values_of(single, name) if value != _get(single, name)]
                mixed.append(single.with_attribute(name, options[int(rng.integers(len(options)))]))
    return list(dict.fromkeys(product for product in mixed if product != base))


def _get(product: Product, name: str) -> str:
    return product.attributes()[name]


def _related_pairs(products: Sequence[Product]) -> list[_Pair]:
    pairs = []
    for reference in products:
        for target in products:
            changes = differences(reference, target)
            if changes is not None and 1 <= len(changes) <= _MOST_CHANGES:
                pairs.append(_Pair(reference, target, changes))
    return pairs


def _varied(pairs: list[_Pair], rng: np.random.Generator) -> list[_Pair]:
    """Shuffled so that taking from the end meets every kind of change before any of them again."""
    met: Counter[tuple[str, ...]] = Counter()
    keyed = []
    for index in rng.permutation(len(pairs)):
        kind = tuple(change.attribute for change in pairs[index].changes)
        keyed.append((-met[kind], pairs[index]))
        met[kind] += 1
    return [pair for _, pair in sorted(keyed, key=lambda entry: entry[0])]


def _kept(reference: Product, changes: Sequence[Change], rng: np.random.Generator) -> str:
    changed = {change.attribute for change in changes}
    names = [name for name in reference.attributes() if name not in changed]
    return names[int(rng.integers(len(names)))]
