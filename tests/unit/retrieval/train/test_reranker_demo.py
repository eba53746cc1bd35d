from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.model import CLIP
from PIL import Image

from retrieval.datasets.products import Split
from retrieval.prompt import ANSWERS, INSTRUCTION, judge_messages
from retrieval.train.encoder_demo import EncoderShape, write_model
from retrieval.train.judge_metrics import Judged, fit_sigmoid, fit_weight
from retrieval.train.judge_model import (
    JudgeShape,
    adopt_tower,
    build_judge,
    build_processor,
    build_tokenizer,
    image_tokens,
    patch_features,
)
from retrieval.train.judge_tasks import Candidate, PictureIndex, Task, TaskWriter
from retrieval.train.pictures import training_shots
from retrieval.train.reranker_demo import JudgeRecipe, Phase, collate, train_base_and_adapter

ENCODER = EncoderShape(20, 10, embed_dim=16, vision_width=64, vision_layers=1, text_width=48, text_layers=1)
SHAPE = JudgeShape(hidden=32, layers=1, heads=1, intermediate=32)
SHOTS = training_shots(Split.TRAIN, count=400, seed=2)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    write_model(CLIP(**ENCODER.model_cfg()), torch.ones(49408, dtype=torch.bool), ENCODER, tmp_path / "encoder")
    return tmp_path / "encoder"


def _writer() -> TaskWriter:
    return TaskWriter(build_tokenizer(), PictureIndex(SHOTS), image_tokens=image_tokens(ENCODER))


def test_answers_and_instruction_are_one_token_each() -> None:
    tokenizer = build_tokenizer()

    for text in (*ANSWERS, INSTRUCTION):
        assert len(tokenizer.encode(text, add_special_tokens=False)) == 1


@pytest.mark.parametrize("text", ["Make it red, please", "not striped but two-tone", "without sleeves", "No strap!"])
def test_training_writes_the_prompt_that_serving_writes(text: str) -> None:
    processor = build_processor(build_tokenizer(), ENCODER)
    prompt = processor.apply_chat_template(judge_messages(text), add_generation_prompt=True)
    picture = Image.new("RGB", (30, 30))
    served = processor(text=[prompt], images=[[picture, picture]], add_special_tokens=False)["input_ids"][0]

    example = _writer().judgement(text, 0, 1, "Yes")

    assert example.ids[: example.answer] == list(served)


def test_the_judge_sees_what_the_encoder_sees(encoder: Path) -> None:
    torch.manual_seed(0)
    model = CLIP(**ENCODER.model_cfg())
    judge = build_judge(build_tokenizer(), ENCODER, SHAPE).eval()
    adopt_tower(judge, encoder)
    pixels = torch.randn(2, 3, 20, 20)

    with torch.no_grad():
        tokens = model.visual.transformer(model.visual._embeds(pixels))[:, 1:]

    assert torch.allclose(patch_features(judge, pixels), tokens, atol=5e-3)


@pytest.mark.parametrize("kind", list(Candidate))
def test_candidates_are_what_their_kind_says(kind: Candidate) -> None:
    index, rng = PictureIndex(SHOTS), np.random.default_rng(1)
    for _ in range(20):
        request = index.request(rng)
        shown = SHOTS[index.candidate(request, kind, rng)].product
        if kind is Candidate.TARGET:
            assert shown == request.wanted
        elif kind is not Candidate.OTHER:
            assert shown != request.wanted


def test_only_answers_are_predicted() -> None:
    rng = np.random.default_rng(0)
    examples = [_writer().example(task, rng) for task in Task]
    ids, predicts, pictures = collate(examples, padding=0)

    assert len(pictures) == sum(len(example.pictures) for example in examples)
    for row, example in enumerate(examples):
        assert predicts[row].sum() == len(example.ids) - example.answer
        assert ids[row, len(example.ids) :].sum() == 0


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT reads transformers' old name
def test_a_tiny_judge_trains_and_resumes(encoder: Path, tmp_path: Path) -> None:
    recipe = JudgeRecipe(
        ENCODER,
        SHAPE,
        pictures=40,
        base=(Phase("reading", (Task.DESCRIBE, Task.CHECK), steps=2, batch=2, warmup=1, checkpoint_every=1),),
        adapter=Phase("judging", (Task.JUDGE,), steps=2, batch=2, warmup=1, checkpoint_every=1),
    )

    for out in ("first", "again"):
        train_base_and_adapter(recipe, encoder=encoder, out=tmp_path / out, work=tmp_path / "work")

    for file in ("base/model.safetensors", "lora/adapter_model.safetensors"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_the_sigmoid_is_fitted_to_what_was_right() -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(size=(200, 20)).astype(np.float32) * 3
    right = rng.random((200, 20)) < 1 / (1 + np.exp(-(margins / 2 - 1)))

    temperature, bias = fit_sigmoid(margins, right)

    assert temperature == pytest.approx(2.0, rel=0.15)
    assert bias == pytest.approx(-1.0, abs=0.15)


def test_only_a_judge_that_helps_gets_a_say() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.random((200, 20)).astype(np.float32)
    right = np.arange(20)[None, :] == rng.integers(20, size=(200, 1))
    good = np.where(right, 5.0, -5.0).astype(np.float32)
    noise = rng.normal(size=(200, 20)).astype(np.float32)

    assert fit_weight(Judged(coarse, good, right), 1.0, 0.0) > 0.4
    assert fit_weight(Judged(coarse + right, noise, right), 1.0, 0.0) == 0.0
