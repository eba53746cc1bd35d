import pytest
from PIL import Image

from cli.demo.catalog import demo_items
from cli.demo.queries import DemoQuery, check_queries, showcase
from retrieval.datasets.catalog import CatalogItem
from retrieval.datasets.products import price_of


@pytest.fixture(scope="module")
def items() -> dict[str, CatalogItem]:
    return {item.external_id: item for item in demo_items()}


@pytest.fixture(scope="module")
def shown(items: dict[str, CatalogItem], tmp_path_factory: pytest.TempPathFactory) -> list[DemoQuery]:
    return showcase(list(items.values()), picture=tmp_path_factory.mktemp("demo") / "new.jpg")


@pytest.fixture(scope="module")
def checked() -> list[DemoQuery]:
    return check_queries()


def test_showcase_has_every_kind_of_query(shown: list[DemoQuery]) -> None:
    assert [query.kind for query in shown] == [*["composed"] * 5, "text", "image", "filtered"]


def test_everything_meant_is_in_the_gallery(
    shown: list[DemoQuery], checked: list[DemoQuery], items: dict[str, CatalogItem]
) -> None:
    for query in [*shown, *checked]:
        assert query.intended
        assert query.intended <= items.keys()
        assert query.reference is None or query.reference in items


def test_the_filter_lets_the_intended_product_pass(shown: list[DemoQuery], items: dict[str, CatalogItem]) -> None:
    query = shown[-1]
    (meant,) = (items[name] for name in query.intended)
    assert meant.in_stock
    assert price_of(meant.shot.product) <= query.filter["price"]["lte"]


def test_text_means_every_product_with_those_attributes(shown: list[DemoQuery], items: dict[str, CatalogItem]) -> None:
    query = next(query for query in shown if query.kind == "text")
    described = {
        name for name, item in items.items()
        if " ".join(item.row()[key] for key in ("color", "pattern", "category")) == query.text
    }  # fmt: skip
    assert query.intended == described


def test_image_query_brings_a_new_photo(shown: list[DemoQuery]) -> None:
    query = next(query for query in shown if query.kind == "image")
    assert query.picture is not None
    with Image.open(query.picture) as picture:
        assert picture.size == (384, 384)
    assert "rerank" not in query.body(top_k=5)


def test_check_queries_are_fifty_and_always_the_same(checked: list[DemoQuery]) -> None:
    assert len(checked) == 50
    assert check_queries() == checked
