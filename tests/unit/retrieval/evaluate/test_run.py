"""Rankings by hand through the real runner: what each protocol does with the reference, the shortlist and the group."""

from pathlib import Path

import numpy as np
import pytest
from PIL.Image import Image as Picture

from core.errors import InvalidInputError, ModelLoadError
from core.models import Explanation
from core.pictures import decode
from retrieval.datasets.composed import CirQuery
from retrieval.evaluate.embeddings import VectorCache
from retrieval.evaluate.run import EvalOptions, Evaluation, Evaluator, Models, evaluate, spread
from retrieval.evaluate.space import AttributeUse
from tests.unit.retrieval.evaluate.scripted import (
    DIM,
    ScriptedComposer,
    ScriptedEncoder,
    ScriptedJudge,
    dataset,
    gallery,
)

NAMES = "abcdefgh"
SCORES = [0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
CIRR_QUERY = CirQuery("1", "a", ("red",), ("f",), members=("b", "d", "f", "g", "h"))


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    return gallery(tmp_path, NAMES)


def models(scores: list[float] = SCORES, judge: ScriptedJudge | None = None, text: str = "red") -> Models:
    encoder = ScriptedEncoder()
    return Models(encoder, ScriptedComposer(encoder, {text: scores, "": scores}), judge)


def judge(images: dict[str, Path], weight: float = 1.0, **yes: float) -> ScriptedJudge:
    return ScriptedJudge({decode(images[name].read_bytes()).tobytes(): p for name, p in yes.items()}, weight=weight)


def first(evaluation: Evaluation) -> tuple[str, str]:
    ranked = evaluation.answers[0][0].ranked
    return "".join(ranked.ranking), "".join(ranked.members)


def test_cirr_drops_the_reference_and_ranks_five_members(images: dict[str, Path]) -> None:
    assert first(evaluate([dataset("cirr", images, CIRR_QUERY)], models(), EvalOptions())) == ("bcdefgh", "bdfgh")


def test_what_a_query_denies_is_its_negative_text_on_demand(images: dict[str, Path]) -> None:
    encoder = ScriptedEncoder()
    composer = ScriptedComposer(encoder, {"no logo": SCORES})
    queries = (CirQuery("1", "a", ("no logo",), ("f",), denied="logo"), CirQuery("2", "a", ("no logo",), ("f",)))
    hearing = judge(images)
    for negatives in (False, True):
        models_ = Models(encoder, composer, hearing)
        evaluate([dataset("cirr", images, *queries)], models_, EvalOptions(negatives=negatives))

    given = [None if query.negative_text is None else int(query.negative_text.argmax()) for _, query in composer.asked]
    assert given == [None, None, encoder.texts.index("logo"), None]
    assert [text for text, _ in hearing.asked] == ["no logo", "no logo", "no logo, but not logo", "no logo"]


def test_fashioniq_keeps_the_reference(images: dict[str, Path]) -> None:
    query = CirQuery("1", "a", ("red",), ("f",))

    assert first(evaluate([dataset("fashioniq", images, query)], models(), EvalOptions()))[0] == NAMES


def test_circo_keeps_the_reference_unless_told_otherwise(images: dict[str, Path]) -> None:
    data = [dataset("circo", images, CirQuery("1", "a", ("red",), ("f",)))]
    told = evaluate(data, models(), EvalOptions(drop_reference=True))

    assert first(evaluate(data, models(), EvalOptions()))[0] == NAMES
    assert first(told)[0] == NAMES[1:]
    assert told.drops_reference


def test_the_reference_takes_no_place_of_the_shortlist(images: dict[str, Path]) -> None:
    asked = judge(images, d=1.0)
    query = CirQuery("1", "a", ("red",), ("d",))
    evaluation = evaluate([dataset("cirr", images, query)], models(judge=asked), EvalOptions(depth=3))

    assert asked.asked == [("red", 3)]  # b, c and d: had the reference been cut off later, d would be unseen
    assert first(evaluation)[0] == "dbcefgh"


def test_members_outside_of_the_shortlist_are_judged_as_well(images: dict[str, Path]) -> None:
    asked = judge(images, f=0.9, h=0.5, b=0.1)
    evaluation = evaluate([dataset("cirr", images, CIRR_QUERY)], models(judge=asked), EvalOptions(depth=2))

    assert asked.asked == [("red", 6)]  # b and c, and the members d, f, g, h
    assert first(evaluation) == ("bcdefgh", "fhbdg")  # f cannot enter the ranking from outside of the shortlist


def test_what_the_judge_did_not_see_follows_in_coarse_order(images: dict[str, Path]) -> None:
    query = CirQuery("1", "a", ("red",), ("d",))
    evaluation = evaluate([dataset("circo", images, query)], models(judge=judge(images, c=1.0)), EvalOptions(depth=3))

    assert first(evaluation)[0] == "cabdefgh"


def test_both_stages_weigh_as_in_the_service(images: dict[str, Path]) -> None:
    # Coarse of b, c, d within the shortlist: 1, 0.5, 0. With w = 0.4: b 0.6, c 0.3 + 0.4 * 0.9 = 0.66, d 0.4.
    asked = judge(images, weight=0.4, c=0.9, d=1.0)
    query = CirQuery("1", "a", ("red",), ("d",))
    evaluation = evaluate([dataset("cirr", images, query)], models(judge=asked), EvalOptions(depth=3))

    assert first(evaluation)[0] == "cbdefgh"


def test_the_order_before_the_judge_is_kept(images: dict[str, Path]) -> None:
    evaluation = evaluate([dataset("cirr", images, CIRR_QUERY)], models(judge=judge(images, f=1.0)), EvalOptions())
    answer = evaluation.answers[0][0]

    assert "".join(answer.coarse.ranking) == "bcdefgh"
    assert "".join(answer.ranked.ranking) == "fbcdegh"


def test_equal_scores_are_in_order_of_ids(images: dict[str, Path]) -> None:
    query = CirQuery("1", "a", ("red",), ("f",))

    assert first(evaluate([dataset("circo", images, query)], models([0.5] * 8), EvalOptions()))[0] == NAMES


def test_two_orders_of_a_caption_are_averaged_as_directions(images: dict[str, Path]) -> None:
    used = models(text="red and long")
    query = CirQuery("1", "a", ("red and long", "long and red"), ("f",))
    evaluate([dataset("fashioniq", images, query)], used, EvalOptions())
    assert isinstance(used.composer, ScriptedComposer)
    text = used.composer.asked[0][1].text

    assert text is not None
    assert np.allclose(text[text > 0], 2**-0.5)
    assert np.linalg.norm(text) == pytest.approx(1.0)


def test_a_query_without_any_text_searches_by_its_picture_and_is_not_judged(images: dict[str, Path]) -> None:
    asked = judge(images, h=1.0)
    used = models(judge=asked)
    evaluation = evaluate([dataset("fashioniq", images, CirQuery("1", "a", (), ("f",)))], used, EvalOptions())
    assert isinstance(used.composer, ScriptedComposer)

    assert used.composer.asked[0][0] == "image"
    assert asked.asked == []
    assert first(evaluation)[0] == NAMES


def test_composition_gets_the_mean_and_the_concepts_of_the_gallery(images: dict[str, Path]) -> None:
    used = models()
    evaluate([dataset("cirr", images, CIRR_QUERY)], used, EvalOptions())
    assert isinstance(used.composer, ScriptedComposer)
    given = used.composer.asked[0][1]

    assert given.mean is not None
    assert given.mean.shape == (DIM,)
    assert given.concepts is not None
    assert given.concepts.terms == ("snow", "beach", "shirt", "mug")


def test_explanations_are_handed_on(images: dict[str, Path]) -> None:
    encoder = ScriptedEncoder()
    said = Explanation(kept=(("shirt", 1.0),))
    composer = ScriptedComposer(encoder, {"red": SCORES}, explanation=said)
    evaluation = evaluate([dataset("cirr", images, CIRR_QUERY)], Models(encoder, composer), EvalOptions())

    assert evaluation.answers[0][0].explanation == said


def test_a_picture_that_cannot_be_read_is_an_error_that_names_it(images: dict[str, Path]) -> None:
    images["c"].write_bytes(b"no picture")
    images["e"].write_bytes(images["d"].read_bytes()[:300])

    with pytest.raises(InvalidInputError, match=r"2 of 8 images .*c\.jpg .*e\.jpg"):
        evaluate([dataset("cirr", images, CIRR_QUERY)], models(), EvalOptions())


def test_an_unknown_strategy_is_refused_before_anything_is_computed(images: dict[str, Path]) -> None:
    used = models()
    with pytest.raises(InvalidInputError, match="image, intersection, caption"):
        evaluate([dataset("cirr", images, CIRR_QUERY)], used, EvalOptions(strategy="magic"))
    assert isinstance(used.encoder, ScriptedEncoder)
    assert used.encoder.pictures == 0


def test_vectors_are_kept_until_a_file_changes(images: dict[str, Path], tmp_path: Path) -> None:
    cache = VectorCache(folder=tmp_path / "cache")

    def computed() -> int:
        used = models()
        evaluate([dataset("cirr", images, CIRR_QUERY)], used, EvalOptions(), cache=cache)
        assert isinstance(used.encoder, ScriptedEncoder)
        return used.encoder.pictures

    assert [computed(), computed()] == [8, 0]
    images["c"].write_bytes(images["d"].read_bytes())
    assert computed() == 8


def test_many_ways_to_answer_share_one_embedding(images: dict[str, Path]) -> None:
    used, asked = models(), judge(images, f=1.0)
    evaluator = Evaluator([dataset("cirr", images, CIRR_QUERY)], used.encoder, used.composer)
    alone = evaluator.run(EvalOptions(strategy="image"))
    judged = evaluator.run(EvalOptions(depth=3, attributes=AttributeUse.NONE), judge=asked)
    assert isinstance(used.encoder, ScriptedEncoder)
    assert isinstance(used.composer, ScriptedComposer)
    (_, once), (_, again) = used.composer.asked

    assert used.encoder.pictures == 8
    assert once.phrases is again.phrases is not None
    assert (alone.options.strategy, judged.options.strategy) == ("image", "intersection")
    assert first(alone) == ("bcdefgh", "bdfgh")
    assert first(judged) == ("bcdefgh", "fbdgh")
    assert judged.models.judge is asked


@pytest.mark.parametrize(("limit", "chosen"), [(None, "0123456789"), (20, "0123456789"), (4, "0369"), (1, "0")])
def test_a_limit_takes_queries_evenly(limit: int | None, chosen: str) -> None:
    queries = [CirQuery(str(number), "a", ("x",)) for number in range(10)]

    assert "".join(query.id for query in spread(queries, limit)) == chosen


class Describer:
    """Describes every target in the same words."""

    def __init__(self, words: str) -> None:
        self._words = words

    def caption(self, reference: Picture, text: str) -> str:
        assert (reference.mode, text) == ("RGB", "red")
        return self._words


@pytest.mark.parametrize(("words", "searched"), [(" a red dress ", "a red dress"), ("", "red")])
def test_the_caption_strategy_gets_a_description_or_else_the_text(
    images: dict[str, Path], words: str, searched: str
) -> None:
    encoder = ScriptedEncoder()
    composer = ScriptedComposer(encoder, {"red": SCORES})
    used = Models(encoder, composer, captioner=Describer(words))
    evaluation = evaluate([dataset("cirr", images, CIRR_QUERY)], used, EvalOptions(strategy="caption"))

    assert evaluation.answers[0][0].description == words.strip()
    caption = composer.asked[0][1].caption
    assert caption is not None
    assert encoder.texts[int(caption.argmax())] == searched


def test_the_caption_strategy_needs_a_captioner(images: dict[str, Path]) -> None:
    with pytest.raises(ModelLoadError, match="SETR_CAPTIONER"):
        evaluate([dataset("cirr", images, CIRR_QUERY)], models(), EvalOptions(strategy="caption"))
