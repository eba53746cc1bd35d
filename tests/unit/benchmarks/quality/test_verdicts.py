from pathlib import Path

import pytest
from PIL import Image

from benchmarks.quality.verdicts import RememberingJudge, Verdicts, verdicts_of
from core.settings import Settings
from retrieval.specs import JudgeSource
from tests.unit.benchmarks.quality.miniature import ArbitraryJudge

PICTURES = [Image.new("RGB", (8, 6), (40 * i, 7, 200)) for i in range(5)]


def test_a_question_is_asked_once(tmp_path: Path) -> None:
    judge, verdicts = ArbitraryJudge(), Verdicts(tmp_path / "v.npz")
    remembering = RememberingJudge(judge, verdicts)
    first = remembering.score(PICTURES[0], "red", PICTURES[:3])
    again = remembering.score(PICTURES[0].copy(), "red", [PICTURES[2], PICTURES[3], PICTURES[0]])

    assert first == ArbitraryJudge().score(PICTURES[0], "red", PICTURES[:3])
    assert again == ArbitraryJudge().score(PICTURES[0], "red", [PICTURES[2], PICTURES[3], PICTURES[0]])
    assert judge.asked == [3, 1]
    assert verdicts.asked == 4


def test_another_text_reference_or_shape_is_another_question(tmp_path: Path) -> None:
    judge = ArbitraryJudge()
    remembering = RememberingJudge(judge, Verdicts(tmp_path / "v.npz"))
    turned = Image.frombytes("RGB", (6, 8), PICTURES[1].tobytes())
    for reference, text, candidate in [
        (PICTURES[0], "red", PICTURES[1]),
        (PICTURES[0], "blue", PICTURES[1]),
        (PICTURES[2], "red", PICTURES[1]),
        (PICTURES[0], "red", turned),
    ]:
        remembering.score(reference, text, [candidate])

    assert judge.asked == [1, 1, 1, 1]


def test_what_was_saved_is_known_to_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "new" / "v.npz"
    verdicts = Verdicts(path)
    expected = RememberingJudge(ArbitraryJudge(), verdicts).score(PICTURES[0], "red", PICTURES)
    verdicts.save()
    later = ArbitraryJudge()

    assert RememberingJudge(later, Verdicts(path)).score(PICTURES[0], "red", PICTURES) == expected
    assert later.asked == []
    assert [file.name for file in path.parent.iterdir()] == ["v.npz"]


def test_nothing_new_is_not_written(tmp_path: Path) -> None:
    Verdicts(tmp_path / "v.npz").save()

    assert list(tmp_path.iterdir()) == []


def test_another_weight_shares_the_verdicts(tmp_path: Path) -> None:
    judge = ArbitraryJudge(weight=0.25)
    remembering = RememberingJudge(judge, Verdicts(tmp_path / "v.npz"))
    alone = remembering.weighing(1.0)
    alone.score(PICTURES[0], "red", PICTURES)
    remembering.score(PICTURES[0], "red", PICTURES)

    assert (remembering.weight, alone.weight) == (0.25, 1.0)
    assert alone.identity == remembering.identity == judge.identity
    assert judge.asked == [5]


@pytest.mark.parametrize("changed", ["base/model.safetensors", "base/chat_template.jinja", "lora/calibration.json"])
def test_a_judge_that_has_changed_has_another_file(tmp_path: Path, changed: str) -> None:
    for name in ("base/model.safetensors", "base/chat_template.jinja", "lora/calibration.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    source = JudgeSource(str(tmp_path / "base"), str(tmp_path / "lora"))

    def path() -> Path:
        return verdicts_of(source, Settings(), tmp_path).path

    before = path()
    assert path() == before
    (tmp_path / changed).write_text("[]")
    assert path() != before
