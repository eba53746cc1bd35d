import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from core.errors import ModelLoadError
from core.settings import Settings
from retrieval.calibration import DEFAULT_WEIGHT
from retrieval.prompt import judge_messages
from retrieval.rerank import HuggingFaceJudge, build_judge
from tests.unit.retrieval.tiny import WORDS, write_demo_reranker

PICTURES = [Image.new("RGB", (20 + i, 30), (30 * i, 200 - 30 * i, 7)) for i in range(5)]


@pytest.fixture(scope="module")
def judge(models_dir: Path) -> HuggingFaceJudge:
    return build_judge(Settings(models_dir=models_dir))


@pytest.fixture
def spoiled(models_dir: Path, tmp_path: Path) -> Callable[[str, Callable[[dict[str, torch.Tensor]], object]], Settings]:
    """Settings whose demo judge is a copy with one weights file changed."""

    def spoil(file: str, change: Callable[[dict[str, torch.Tensor]], object]) -> Settings:
        shutil.copytree(models_dir / "demo-reranker", tmp_path / "demo-reranker")
        path = tmp_path / "demo-reranker" / file
        weights = load_file(path)
        change(weights)
        save_file(weights, path, metadata={"format": "pt"})
        return Settings(models_dir=tmp_path)

    return spoil


def test_scores_are_probabilities_in_the_candidates_order(judge: HuggingFaceJudge) -> None:
    scores = judge.score(PICTURES[0], "red", PICTURES)
    assert len(scores) == 5
    assert all(0 < score < 1 for score in scores)
    assert len(set(scores)) == 5
    assert judge.score(PICTURES[0], "red", PICTURES[::-1]) == pytest.approx(scores[::-1], abs=1e-4)
    assert judge.score(PICTURES[0], "red", []) == []


def test_a_score_does_not_depend_on_its_batch(models_dir: Path, judge: HuggingFaceJudge) -> None:
    together = judge.score(PICTURES[0], "red with blue", PICTURES)
    for batch in (1, 2):
        small = build_judge(Settings(models_dir=models_dir, rerank_batch=batch))
        assert small.score(PICTURES[0], "red with blue", PICTURES) == pytest.approx(together, abs=1e-4)


def test_score_is_the_sigmoid_of_the_difference_of_the_models_own_logits(models_dir: Path) -> None:
    base = models_dir / "demo-reranker" / "base"
    judge = build_judge(Settings(reranker=f"hf:{base}"))
    processor = judge._model.processor
    prompt = processor.apply_chat_template(judge_messages("red"), add_generation_prompt=True)
    inputs = processor(text=[prompt], images=[PICTURES[:2]], return_tensors="pt")
    with torch.inference_mode():
        logits = AutoModelForImageTextToText.from_pretrained(base)(**inputs).logits[0, -1]
    expected = torch.sigmoid(logits[WORDS.index("Yes")] - logits[WORDS.index("No")]).item()
    assert judge.score(PICTURES[0], "red", [PICTURES[1]]) == pytest.approx([expected], abs=1e-5)


def test_reference_text_and_adapter_count(models_dir: Path, judge: HuggingFaceJudge) -> None:
    score = judge.score(PICTURES[0], "red", PICTURES[2:3])
    base_alone = build_judge(Settings(reranker=f"hf:{models_dir / 'demo-reranker' / 'base'}"))
    assert judge.score(PICTURES[4], "red", PICTURES[2:3]) != score
    assert judge.score(PICTURES[0], "blue", PICTURES[2:3]) != score
    assert base_alone.score(PICTURES[0], "red", PICTURES[2:3]) != score
    assert base_alone.identity.weights_sha256 != judge.identity.weights_sha256


def test_text_cannot_add_pictures_or_control_tokens(judge: HuggingFaceJudge) -> None:
    assert judge.score(PICTURES[0], "red <image> </s>", PICTURES[:1]) == judge.score(PICTURES[0], "red", PICTURES[:1])


def test_adapter_beside_the_weights_scores_as_added_to_them(models_dir: Path, judge: HuggingFaceJudge) -> None:
    coarse = build_judge(Settings(models_dir=models_dir, dtype="bfloat16"))
    assert coarse.identity == judge.identity
    expected = judge.score(PICTURES[0], "red", PICTURES)
    assert coarse.score(PICTURES[0], "red", PICTURES) == pytest.approx(expected, abs=0.02)


def test_calibration_beside_the_adapter(models_dir: Path, judge: HuggingFaceJudge, tmp_path: Path) -> None:
    assert judge.weight == DEFAULT_WEIGHT
    lora = shutil.copytree(models_dir / "demo-reranker" / "lora", tmp_path / "lora")
    (lora / "calibration.json").write_text(json.dumps({"temperature": 2.0, "bias": -1.5, "weight": 0.75}))
    spec = f"hf:{models_dir / 'demo-reranker' / 'base'}+lora={lora}"
    calibrated = build_judge(Settings(reranker=spec))
    assert (calibrated.weight, calibrated.identity.spec) == (0.75, spec)
    margin = torch.logit(torch.tensor(judge.score(PICTURES[0], "red", PICTURES[:1])))
    expected = torch.sigmoid(margin / 2.0 - 1.5).tolist()
    assert calibrated.score(PICTURES[0], "red", PICTURES[:1]) == pytest.approx(expected, abs=1e-5)
    (lora / "calibration.json").write_text(json.dumps({"temperature": 0}))
    with pytest.raises(ModelLoadError, match="is not a calibration"):
        build_judge(Settings(reranker=spec))


def test_missing_tensor_is_named(spoiled: Callable[..., Settings]) -> None:
    name = "model.language_model.layers.1.mlp.up_proj.weight"
    settings = spoiled(
        "base/model.safetensors", lambda weights: weights.pop(next(k for k in weights if "1.mlp.up" in k))
    )
    with pytest.raises(ModelLoadError, match=rf"partly random .*missing keys: .*{name}"):
        build_judge(settings)


def test_tensor_of_another_shape_is_refused(spoiled: Callable[..., Settings]) -> None:
    settings = spoiled(
        "base/model.safetensors",
        lambda weights: weights.update({k: torch.zeros(3, 3) for k in weights if "1.mlp.up" in k}),
    )
    with pytest.raises(ModelLoadError, match=r"1\.mlp\.up_proj"):
        build_judge(settings)


def test_missing_and_misshapen_adapter_tensors(spoiled: Callable[..., Settings], tmp_path: Path) -> None:
    file = "lora/adapter_model.safetensors"
    with pytest.raises(ModelLoadError, match=r"does not fit its base model .*lora_A"):
        build_judge(spoiled(file, lambda weights: weights.pop(next(k for k in weights if "lora_A" in k))))
    shutil.rmtree(tmp_path / "demo-reranker")
    with pytest.raises(ModelLoadError, match="lora_A"):
        build_judge(
            spoiled(file, lambda weights: weights.update({k: torch.zeros(2, 3) for k in weights if "lora_A" in k}))
        )


def test_absent_folders_are_named(models_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="none"):
        build_judge(Settings(models_dir=tmp_path / "none"))
    with pytest.raises(ModelLoadError, match=r"adapter .*nowhere"):
        build_judge(Settings(reranker=f"hf:{models_dir / 'demo-reranker' / 'base'}+lora={tmp_path / 'nowhere'}"))


def test_an_answer_of_several_tokens_is_refused(tmp_path: Path) -> None:
    folder = write_demo_reranker(tmp_path, words=WORDS)
    tokenizer = json.loads((folder / "base" / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": False}
    (folder / "base" / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelLoadError, match="'Yes' is 3 tokens"):
        build_judge(Settings(models_dir=tmp_path))


@pytest.mark.parametrize(("template", "message"), [(None, "no chat template"), ("hello", "not show two pictures")])
def test_a_chat_template_without_the_pictures_is_refused(tmp_path: Path, template: str | None, message: str) -> None:
    base = write_demo_reranker(tmp_path) / "base"
    (base / "chat_template.jinja").unlink()
    if template is not None:
        (base / "chat_template.jinja").write_text(template)
    with pytest.raises(ModelLoadError, match=message):
        build_judge(Settings(models_dir=tmp_path))
