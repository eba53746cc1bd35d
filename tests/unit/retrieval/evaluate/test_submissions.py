import json
from pathlib import Path

import pytest

from core.errors import InvalidInputError
from retrieval.evaluate.protocols import Ranked
from retrieval.evaluate.submissions import write_circo_submission, write_cirr_submission

NAMES = tuple(f"test1-{number}-0-img0" for number in range(60))


def test_cirr_takes_two_files_of_different_names(tmp_path: Path) -> None:
    recall, subset = write_cirr_submission(tmp_path, "test1", {"12063": Ranked(NAMES, NAMES[:5])})

    assert recall != subset
    assert json.loads(recall.read_text()) == {"version": "rc2", "metric": "recall", "12063": list(NAMES[:50])}
    assert json.loads(subset.read_text()) == {"version": "rc2", "metric": "recall_subset", "12063": list(NAMES[:3])}


def test_cirr_has_a_limit_of_size(tmp_path: Path) -> None:
    long = Ranked(tuple(name * 10_000 for name in NAMES), NAMES[:5])

    with pytest.raises(InvalidInputError, match="at most 5000000"):
        write_cirr_submission(tmp_path, "test1", {"1": long})


def test_circo_takes_ids_as_numbers(tmp_path: Path) -> None:
    ranked = Ranked(tuple(f"{number:012d}" for number in range(100, 160)))
    path = write_circo_submission(tmp_path, "test", {"0": ranked, "1": ranked})

    assert json.loads(path.read_text()) == {"0": list(range(100, 150)), "1": list(range(100, 150))}


def test_circo_refuses_an_answer_twice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="repeats"):
        write_circo_submission(tmp_path, "test", {"0": Ranked(("000000000001", "1"))})
