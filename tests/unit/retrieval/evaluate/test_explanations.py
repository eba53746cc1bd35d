import pytest

from retrieval.evaluate.explanations import names_category, names_scene


@pytest.mark.parametrize(
    ("term", "scene"),
    [("snow", "snow"), ("in the snow", "snow"), ("plain backdrop", "studio"), ("sea", "beach"), ("at night", "night")],
)
def test_a_scene_is_known_by_any_of_its_words(term: str, scene: str) -> None:
    assert names_scene(term, scene)


@pytest.mark.parametrize(("term", "scene"), [("beach", "snow"), ("in front of", "snow"), ("", "snow"), ("red", "city")])
def test_other_words_are_not_the_scene(term: str, scene: str) -> None:
    assert not names_scene(term, scene)


def test_a_category_has_several_nouns() -> None:
    assert names_category("gown", "dress")
    assert names_category("boot", "boot")
    assert not names_category("hat", "boot")
