"""The demo's queries, each with the products it means."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.demo.catalog import COUNT, SEED
from cli.wire import Json
from retrieval.datasets.catalog import CatalogItem, ComposedQuery, demo_queries
from retrieval.datasets.products import SCENES, Shot, price_of
from retrieval.datasets.synthetic import draw, encode_jpeg

COMPOSED = "composed"
SHOWN_COMPOSED = 5
CHECKED = 50
TOP = 5
"""An intended product counts as found when it is among this many."""

_DEPTH = 50
_BUDGET_S = 120
_NEW_PHOTO_SEED = 424_242
_NEW_PHOTO_PX = 384


@dataclass(frozen=True, kw_only=True)
class DemoQuery:
    """A query and what it means. The reference is an image of the gallery, a picture on disk, or none."""

    kind: str
    text: str = ""
    reference: str | None = None
    picture: Path | None = None
    filter: Json = field(default_factory=dict)
    intended: frozenset[str]

    @property
    def title(self) -> str:
        """One line for people."""
        shown = self.reference or (self.picture.name if self.picture else "")
        parts = [shown, f'"{self.text}"' if self.text else "", self.shown_filter]
        return f"{self.kind}: " + " + ".join(part for part in parts if part)

    @property
    def shown_filter(self) -> str:
        """The filter as the API takes it; empty when there is none."""
        return f"filter {json.dumps(self.filter)}" if self.filter else ""

    def body(self, *, top_k: int) -> Json:
        """The request's JSON. Composed queries ask for the judge, with time enough for several at once."""
        body: Json = {"top_k": top_k, "explain": True}
        if self.reference:
            body["reference"] = {"external_id": self.reference}
        if self.text:
            body["text"] = self.text
        if self.filter:
            body["filter"] = self.filter
        if self.reference and self.text:
            body["rerank"] = {"depth": _DEPTH, "budget_seconds": _BUDGET_S}
        return body


def check_queries() -> list[DemoQuery]:
    """The composed queries of `setr demo-check`, always the same."""
    return [
        _composed(query) for query in demo_queries(count=CHECKED, seed=SEED, gallery_count=COUNT, gallery_seed=SEED)
    ]


def showcase(items: Sequence[CatalogItem], *, picture: Path) -> list[DemoQuery]:
    """Five composed queries, one by text, one by a picture (which is written to `picture`), one with a filter."""
    found = demo_queries(count=CHECKED, seed=SEED, gallery_count=COUNT, gallery_seed=SEED)
    shown, rest = found[:SHOWN_COMPOSED], found[SHOWN_COMPOSED:]
    by_id = {item.external_id: item for item in items}
    return [
        *(_composed(query) for query in shown),
        _by_text(items, by_id[rest[0].target]),
        _by_picture(by_id[rest[1].target], picture),
        _with_filter(rest[2:], by_id),
    ]


def _composed(query: ComposedQuery) -> DemoQuery:
    return DemoQuery(kind=COMPOSED, text=query.text, reference=query.reference, intended=frozenset({query.target}))


def _by_text(items: Sequence[CatalogItem], like: CatalogItem) -> DemoQuery:
    """Words for three attributes of a product; every product that has the three is meant."""
    wanted = {name: like.row()[name] for name in ("color", "pattern", "category")}
    matching = (item.external_id for item in items if wanted.items() <= item.row().items())
    return DemoQuery(kind="text", text=" ".join(wanted.values()), intended=frozenset(matching))


def _by_picture(item: CatalogItem, path: Path) -> DemoQuery:
    """A new photo of a product that the gallery shows in another scene."""
    scene = SCENES[(SCENES.index(item.shot.scene) + 1) % len(SCENES)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_jpeg(draw(Shot(item.shot.product, scene, _NEW_PHOTO_SEED), _NEW_PHOTO_PX)))
    return DemoQuery(kind="image", picture=path, intended=frozenset({item.external_id}))


def _with_filter(queries: Sequence[ComposedQuery], by_id: dict[str, CatalogItem]) -> DemoQuery:
    """The first composed query whose product can be bought, with a price limit that it just meets."""
    query = next(query for query in queries if by_id[query.target].in_stock)
    limit = math.ceil(price_of(by_id[query.target].shot.product) / 10) * 10
    return DemoQuery(
        kind="filtered",
        text=query.text,
        reference=query.reference,
        filter={"price": {"lte": limit}, "in_stock": True},
        intended=frozenset({query.target}),
    )
