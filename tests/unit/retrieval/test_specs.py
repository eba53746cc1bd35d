from pathlib import Path

import pytest

from core.errors import ModelLoadError
from retrieval.specs import (
    EncoderSource,
    JudgeSource,
    RemoteJudgeSource,
    parse_encoder_spec,
    parse_judge_spec,
    parse_remote_judge_spec,
)

MODELS = Path("models")


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        ("demo", EncoderSource("local-dir:models/demo-encoder", folder=MODELS / "demo-encoder")),
        ("local-dir:/data/mine", EncoderSource("local-dir:/data/mine", folder=Path("/data/mine"))),
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", EncoderSource("ViT-B-32", tag="laion2b_s34b_b79k")),
        ("open_clip:ViT-B-32@/data/a/b.pt", EncoderSource("ViT-B-32", checkpoint=Path("/data/a/b.pt"))),
        ("open_clip:RN50@b@c.safetensors", EncoderSource("RN50", checkpoint=Path("b@c.safetensors"))),
    ],
)
def test_encoder_specs(spec: str, source: EncoderSource) -> None:
    assert parse_encoder_spec(spec, models_dir=MODELS) == source


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "Demo",
        "ViT-B-32",
        "open_clip:",
        "open_clip:ViT-B-32",
        "open_clip:a/b/c",
        "hf:a/b",
        "open_clip:a@",
        "local-dir:",
    ],
)
def test_wrong_encoder_spec_says_what_is_right(spec: str) -> None:
    with pytest.raises(ModelLoadError, match="open_clip:<architecture>/<pretrained tag>"):
        parse_encoder_spec(spec, models_dir=MODELS)


def test_checkpoint_of_unknown_kind() -> None:
    with pytest.raises(ModelLoadError, match=r"w\.npz is no checkpoint"):
        parse_encoder_spec("open_clip:ViT-B-32@w.npz", models_dir=MODELS)


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        ("demo", JudgeSource("models/demo-reranker/base", "models/demo-reranker/lora")),
        ("hf:Qwen/Qwen2.5-VL-7B-Instruct", JudgeSource("Qwen/Qwen2.5-VL-7B-Instruct", None)),
        ("hf:/base+lora=/a+lora=b", JudgeSource("/base", "/a+lora=b")),
    ],
)
def test_judge_specs(spec: str, source: JudgeSource) -> None:
    assert parse_judge_spec(spec, models_dir=MODELS) == source


@pytest.mark.parametrize("spec", ["", "hf:", "Qwen/Qwen2.5-VL-7B-Instruct", "open_clip:a/b"])
def test_wrong_judge_spec_says_what_is_right(spec: str) -> None:
    with pytest.raises(ModelLoadError, match="hf:<model id or folder>"):
        parse_judge_spec(spec, models_dir=MODELS)


def test_remote_judge_specs() -> None:
    found = parse_remote_judge_spec("openai:https://judge:8000/v1/#Qwen/Qwen2.5-VL-7B-Instruct")
    assert found == RemoteJudgeSource("https://judge:8000/v1", "Qwen/Qwen2.5-VL-7B-Instruct")
    assert parse_remote_judge_spec("demo") is None
    assert parse_remote_judge_spec("hf:openai:x") is None


@pytest.mark.parametrize("spec", ["openai:", "openai:judge:8000/v1#m", "openai:http://judge/v1", "openai:ftp://j/v1#m"])
def test_wrong_remote_judge_spec_says_what_is_right(spec: str) -> None:
    with pytest.raises(ModelLoadError, match="openai:<base URL>#<model>"):
        parse_remote_judge_spec(spec)


def test_credentials_stay_out_of_specs() -> None:
    with pytest.raises(ModelLoadError, match="SETR_RERANKER_API_KEY"):
        parse_remote_judge_spec("openai:https://user:word@judge/v1#m")
