import pytest

from core.errors import InvalidInputError
from core.ids import new_id
from storage.repositories.paging import id_key, number_key, page_of


@pytest.mark.parametrize(
    ("found", "shown", "next_key"),
    [([], (), None), ([1], (1,), None), ([1, 2], (1, 2), None), ([1, 2, 3], (1, 2), "2")],
)
def test_one_row_too_many_means_another_page(found: list[int], shown: tuple[int, ...], next_key: str | None) -> None:
    page = page_of(found, 2, str)
    assert (page.items, page.next_key) == (shown, next_key)


def test_keys_are_read_back() -> None:
    made = new_id()
    assert id_key(str(made)) == made
    assert number_key("42") == 42


@pytest.mark.parametrize("key", ["", "x", "-1", "\uff11", "9" * 19, "1e3"])
def test_other_keys_are_invalid_input(key: str) -> None:
    with pytest.raises(InvalidInputError):
        number_key(key)
    with pytest.raises(InvalidInputError):
        id_key(key)
