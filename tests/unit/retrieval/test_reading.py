"""What is wanted, avoided and kept, in words that no data set of ours uses."""

import pytest

from retrieval.strategies.reading import read, speaks_of


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("velvet", ("velvet",)),
        ("Show me this in velvet, please!", ("in velvet",)),
        ("with fringes and a zip", ("with fringes", "a zip")),
        ("has a wider collar; on a balcony", ("wider collar", "on a balcony")),
        ("without pockets", ("without pockets",)),
        ("change it to velvet", ("velvet",)),
        ("something like this one", ()),
        ("", ()),
    ],
)
def test_what_is_wanted(text: str, wanted: tuple[str, ...]) -> None:
    said = read(text)
    assert tuple(phrase.removeprefix("a ") for phrase in said.wanted) == tuple(w.removeprefix("a ") for w in wanted)
    assert (said.avoided, said.kept) == ((), ())


@pytest.mark.parametrize(
    "text",
    [
        "velvet instead of linen",
        "velvet rather than linen",
        "not linen but velvet",
        "velvet, not linen",
        "I don't want linen, I want velvet",
        "it shouldn't be linen; velvet",
        "replace the linen by velvet",
        "from linen to velvet",
        "change linen to velvet",
        "velvet in place of linen",
    ],
)
def test_what_is_avoided(text: str) -> None:
    said = read(text)
    assert (said.wanted, said.avoided) == (("velvet",), ("linen",))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("velvet, but keep the collar", "collar"),
        ("preserve the collar and make it velvet", "collar"),
        ("without changing the collar, velvet", "collar"),
        ("velvet with the same collar", "collar"),
        ("velvet, the collar stays as it is", "collar"),
        ("leave the surroundings alone, only velvet", "surroundings"),
        ("velvet against the very same backdrop", "backdrop"),
    ],
)
def test_what_is_kept(text: str, kept: str) -> None:
    said = read(text)
    assert (said.wanted, said.avoided, said.kept) == (("velvet",), (), (kept,))


def test_the_same_thing_is_nothing_to_keep() -> None:
    assert read("the same one in velvet").wanted == ("in velvet",)
    assert read("the same one in velvet").kept == ()


def test_names_meet_by_any_word_in_singular_or_plural() -> None:
    assert speaks_of(["sleeve length"], ["sleeves"])
    assert speaks_of(["color"], ["colour"])
    assert speaks_of(["long sleeves"], ["kind", "long sleeves"])
    assert not speaks_of(["pattern"], ["colour"])
    assert not speaks_of([], ["colour"])
