import pytest

from storage.text import made_storable, storable


@pytest.mark.parametrize("text", ["", "sku-1", "Ünïcödé \U0001f457", "tab\tline\n"])
def test_ordinary_text_is_storable_as_it_is(text: str) -> None:
    assert storable(text)
    assert made_storable(text) == text


@pytest.mark.parametrize(("text", "stored"), [("a\0b", "a\ufffdb"), ("\udcff.jpg", "\ufffd.jpg"), ("\ud83d", "\ufffd")])
def test_what_postgres_cannot_hold_is_replaced(text: str, stored: str) -> None:
    assert not storable(text)
    assert made_storable(text) == stored
