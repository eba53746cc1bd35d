"""`setr eval` from the files to the table, by a tiny random encoder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from cli.main import main
from tests.unit.retrieval.conftest import THIRD_PARTY_WARNINGS
from tests.unit.retrieval.evaluate.layouts import CIRR_NAMES, write_circo, write_cirr, write_fashioniq
from tests.unit.retrieval.tiny import clip_weights, write_demo_encoder, write_demo_reranker

Eval = Callable[..., Result]

pytestmark = [pytest.mark.filterwarnings(warning) for warning in THIRD_PARTY_WARNINGS]


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    write_demo_encoder(folder, clip_weights())
    write_demo_reranker(folder)
    return folder


@pytest.fixture
def evaluate(models_dir: Path, tmp_path: Path) -> Eval:
    def run(dataset: str, *arguments: str, **settings: str) -> Result:
        env = {"SETR_MODELS_DIR": str(models_dir), "SETR_DATA_DIR": str(tmp_path / "work"), "SETR_TORCH_THREADS": "1"}
        env |= {f"SETR_{name.upper()}": value for name, value in settings.items()}
        return CliRunner().invoke(main, ["eval", dataset, "--data", str(tmp_path / "data"), *arguments], env=env)

    return run


def written(path: Path) -> Any:
    return json.loads(path.read_text())


def test_cirr_prints_a_table_and_writes_everything(evaluate: Eval, tmp_path: Path) -> None:
    write_cirr(tmp_path / "data")
    out = tmp_path / "new" / "result.json"
    result = evaluate("cirr", "--json", str(out))

    assert result.exit_code == 0, result.output
    for word in ("R@1", "Avg", "strategy intersection", "reference removed", "2 of 2 queries"):
        assert word in result.output
    content = written(out)
    assert content["encoder"]["dim"] == 16
    assert content["metrics"]["R@10"]["percent"] == 100.0  # seven candidates
    assert content["gallery"] == [8]


def test_the_second_run_reads_the_vectors_of_the_first(evaluate: Eval, tmp_path: Path) -> None:
    write_cirr(tmp_path / "data")

    assert "embedding" in evaluate("cirr").stderr
    assert "embedding" not in evaluate("cirr", "--strategy", "sum").stderr


def test_cirr_test1_ends_in_two_files_for_the_server(evaluate: Eval, tmp_path: Path) -> None:
    write_cirr(tmp_path / "data")
    out = tmp_path / "submission"
    result = evaluate("cirr", "--split", "test1", "--submission", str(out))

    assert result.exit_code == 0, result.output
    recall, subset = (written(out / f"cirr_test1_{name}.json") for name in ("recall", "recall_subset"))
    assert sorted(recall["3"]) == sorted(CIRR_NAMES[1:])  # the reference is not in it
    assert len(subset["3"]) == 3
    assert recall.keys() == subset.keys() == {"version", "metric", "3"}


def test_circo_test_ends_in_one_file_for_the_server(evaluate: Eval, tmp_path: Path) -> None:
    write_circo(tmp_path / "data")
    result = evaluate("circo", "--split", "test", "--submission", str(tmp_path / "submission"))

    assert result.exit_code == 0, result.output
    assert sorted(written(tmp_path / "submission" / "circo_test.json")["0"]) == [11, 12, 13, 200, 1000]


def test_circo_val_has_its_aspects_in_the_table(evaluate: Eval, tmp_path: Path) -> None:
    write_circo(tmp_path / "data")
    result = evaluate("circo", "--drop-reference")

    assert result.exit_code == 0, result.output
    for word in ("mAP@5", "aspect:cardinality", "reference removed"):
        assert word in result.output


def test_fashioniq_has_a_row_for_each_category_and_says_what_is_empty(evaluate: Eval, tmp_path: Path) -> None:
    write_fashioniq(tmp_path / "data")
    result = evaluate("fashioniq", "--limit", "1")

    assert result.exit_code == 0, result.output
    for word in ("toptee", "3 of 6 queries", "Note: dress: 1 queries have an empty caption", "reference kept"):
        assert word in result.output


@pytest.mark.parametrize("strategy", ["intersection-span", "product-harris-0.70", "centred-sum-0.62"])
def test_ablations_and_tuned_unions_are_strategies_too(evaluate: Eval, tmp_path: Path, strategy: str) -> None:
    write_cirr(tmp_path / "data")
    result = evaluate("cirr", "--strategy", strategy)

    assert result.exit_code == 0, result.output
    assert f"strategy {strategy}," in result.output


def test_both_stages_are_shown_side_by_side(evaluate: Eval, tmp_path: Path) -> None:
    write_cirr(tmp_path / "data")
    out = tmp_path / "result.json"
    result = evaluate("cirr", "--rerank", "--depth", "3", "--json", str(out))

    assert result.exit_code == 0, result.output
    for word in ("stage 1", "stage 1 + 2", "stage 2 gains", "judge demo"):
        assert word in result.output
    content = written(out)
    assert content["judge"]["depth"] == 3
    assert content["stage1_metrics"].keys() == content["metrics"].keys() == content["stage2_gain"].keys()
    assert content["stage1_metrics"]["R@10"] == content["metrics"]["R@10"]  # three are judged, the rest stays


def test_the_judge_can_be_another_one(evaluate: Eval, models_dir: Path, tmp_path: Path) -> None:
    write_cirr(tmp_path / "data")
    spec = f"hf:{models_dir / 'demo-reranker' / 'base'}"
    result = evaluate("cirr", "--rerank", "--judge", spec, "--json", str(tmp_path / "result.json"))

    assert result.exit_code == 0, result.output
    assert written(tmp_path / "result.json")["judge"]["spec"] == spec


def test_a_captioner_describes_the_target_of_each_query(evaluate: Eval, tmp_path: Path) -> None:
    write_cirr(tmp_path / "data")
    result = evaluate("cirr", "--strategy", "caption", "--json", str(tmp_path / "result.json"), captioner="demo")

    assert result.exit_code == 0, result.output
    content = written(tmp_path / "result.json")
    assert content["strategy"] == "caption"
    assert all(isinstance(answer["description"], str) for answer in content["answers"])


def test_a_missing_picture_is_one_clean_line(evaluate: Eval, tmp_path: Path) -> None:
    (write_cirr(tmp_path / "data") / "dev" / "dev-2-0-img1.png").unlink()
    result = evaluate("cirr")

    assert result.exit_code == 1
    assert "Error: 1 of 8 images of cirr val are missing" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cirr", "--submission", "out", "--limit", "3"), "every query"),
        (("cirr", "--submission", "out", "--keep-reference"), "by the protocol"),
        (("fashioniq", "--submission", "out"), "no test server"),
        (("cirr", "--judge", "demo"), "add --rerank"),
        (("cirr", "--negatives"), "leave --negatives out"),
        (("cirr", "--encoder", "nothing"), "nothing"),
        (("cirr", "--strategy", "magic"), "'magic': use one of text, image, sum"),
        (("cirr", "--strategy", "caption"), "SETR_CAPTIONER"),
    ],
)
def test_what_would_mislead_is_refused(evaluate: Eval, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    write_cirr(tmp_path / "data")
    result = evaluate(*arguments)

    assert result.exit_code in {1, 2}
    assert said in result.output
    assert "Traceback" not in result.output
