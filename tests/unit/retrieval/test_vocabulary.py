from core.models import ConceptKind
from retrieval.compose import StrategyComposer
from retrieval.vocabulary import ASPECT_OF, PRODUCTS


def test_terms_are_few_unique_and_of_one_kind() -> None:
    vocabulary = StrategyComposer().general_vocabulary()
    assert set(vocabulary) == {ConceptKind.PRODUCT, ConceptKind.SCENE}
    terms = [term for terms in vocabulary.values() for term in terms]
    assert len(terms) == len(set(terms)) < 400
    assert all(term == term.strip().lower() for term in terms)


def test_values_of_one_aspect_exclude_each_other() -> None:
    assert ASPECT_OF["red"] == ASPECT_OF["blue"] != ASPECT_OF["striped"]
    assert set(ASPECT_OF) < set(PRODUCTS)
