from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.model import CLIP
from PIL import Image

from retrieval import devices
from retrieval.caption import caption_messages
from retrieval.datasets.products import Split
from retrieval.datasets.wording import SCENE_WORDS
from retrieval.prompt import ANSWERS, INSTRUCTION, judge_messages
from retrieval.train.encoder_demo import EncoderShape, write_model
from retrieval.train.judge_model import (
    JudgeShape,
    adopt_tower,
    build_judge,
    build_processor,
    build_tokenizer,
    image_tokens,
    patch_features,
    token_ids,
)
from retrieval.train.judge_requests import Candidate, PictureIndex
from retrieval.train.judge_tasks import Task, TaskWriter
from retrieval.train.judge_words import CONTROL, NOT_SAME, SAME, SEE, WANT, YES_SAME
from retrieval.train.pictures import training_shots
from retrieval.train.reranker_demo import JudgeRecipe, Phase, collate, train_judge_base

ENCODER = EncoderShape(20, 10, embed_dim=16, vision_width=64, vision_layers=1, text_width=48, text_layers=1)
SHAPE = JudgeShape(hidden=32, layers=4, heads=1, intermediate=32)
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

    example = _writer().judgement(text, 0, 1)

    assert example.ids[: example.answer] == list(served)


def test_training_writes_the_captioners_prompt_too() -> None:
    processor = build_processor(build_tokenizer(), ENCODER)
    prompt = processor.apply_chat_template(caption_messages("in red"), add_generation_prompt=True)
    served = processor(text=[prompt], images=[[Image.new("RGB", (30, 30))]], add_special_tokens=False)["input_ids"][0]

    example = _writer().description("in red", 0, "red dress")

    assert example.ids[: example.answer] == list(served)


def test_no_text_can_write_control_tokens() -> None:
    tokenizer = build_tokenizer()

    assert set(CONTROL[4:]) <= set(tokenizer.all_special_tokens)


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
    for _ in range(40):
        request = index.request(rng)
        shown = SHOTS[index.candidate(request, kind, rng)].product
        if kind in {Candidate.TARGET, Candidate.ELSEWHERE}:
            assert shown == request.wanted
        elif kind is Candidate.REFERENCE:
            assert shown == SHOTS[request.reference].product
        elif kind is not Candidate.OTHER:
            assert shown != request.wanted


def test_a_request_about_the_scene_says_which_one() -> None:
    index, rng = PictureIndex(SHOTS), np.random.default_rng(1)
    about = [request for request in (index.request(rng) for _ in range(100)) if request.scene is not None]

    assert about
    for request in about:
        shot = SHOTS[request.reference]
        said = {scene for scene, words in SCENE_WORDS.items() if any(word in request.text for word in words)}
        if request.scene == shot.scene:
            assert "scene" in request.text
            assert request.wanted != shot.product
        else:
            assert request.scene in said


def test_notes_say_whether_what_is_wanted_is_shown() -> None:
    writer, rng = _writer(), np.random.default_rng(3)
    tokenizer = build_tokenizer()
    right, wrong = token_ids(tokenizer, YES_SAME, NOT_SAME)
    agree = set(token_ids(tokenizer, *SAME))

    for kind, expected in ((Candidate.TARGET, 0), (Candidate.ONE_OFF, 1)):
        for _ in range(20):
            example = writer.example(Task.COMPOSE, rng, [kind])
            held = [token for place, token in example.notes.items() if example.ids[place] in agree]
            assert len(held) == len(SAME)
            assert set(held) <= {right, wrong}
            if kind is Candidate.TARGET:
                assert held[:-1].count(wrong) == expected  # its scene may be missing from so few pictures
            else:
                assert held.count(wrong) >= expected


def test_only_answers_and_notes_are_predicted() -> None:
    rng = np.random.default_rng(0)
    examples = [_writer().example(task, rng) for task in Task]
    batch = collate(examples, padding=0)

    assert len(batch.pictures) == sum(len(example.pictures) for example in examples)
    for row, example in enumerate(examples):
        assert (batch.words[row] >= 0).sum() == len(example.ids) - example.answer
        assert (batch.notes[row] >= 0).sum() == len(example.notes)
        assert batch.ids[row, len(example.ids) :].sum() == 0


@pytest.mark.parametrize(("written", "read"), [
    ("keep the background, in red", "keep the scene , in red"),
    ("in front of this same setting", "in front of this same scene"),
    ("Scenery as it is", "scene as it is"),
])  # fmt: skip
def test_other_nouns_for_the_scene_are_read_as_the_one_that_training_has(written: str, read: str) -> None:
    tokenizer = build_tokenizer()

    assert tokenizer.tokenize(written) == tokenizer.tokenize(read)


def test_a_noun_that_training_has_for_one_scene_stays_as_it_is() -> None:
    assert build_tokenizer().tokenize("on a plain backdrop") == ["on", "a", "plain", "backdrop"]


def test_in_place_of_is_not_about_a_scene() -> None:
    assert "scene" not in build_tokenizer().tokenize("red in place of blue")


@pytest.mark.parametrize("half", [True, False], ids=["bfloat16", "float32"])
def test_a_tiny_base_trains_resumes_and_is_decided_by_its_seed(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, half: bool
) -> None:
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: half)
    short: Any = {"steps": 2, "pictures": 40, "batch": 2, "warmup": 1, "checkpoint_every": 1}
    recipe = JudgeRecipe(
        ENCODER,
        SHAPE,
        dev_pictures=200,
        phases=(
            Phase("reading", (Task.READ,), tower_rate=0.5, **short),
            Phase("details", (Task.READ_SMALL,), tower_rate=0.5, **short),
            Phase("comparing", (Task.DESCRIBE, Task.COMPOSE), **short),
        ),
    )

    for out, work in (("first", "work"), ("again", "work"), ("anew", "elsewhere")):
        metrics = train_judge_base(
            recipe, encoder=encoder, out=tmp_path / out, work=tmp_path / work, device=torch.device("cpu")
        )
        assert len(metrics["right_notes_on_dev"]) == len((*WANT, *SEE, *SAME))

    first, again, anew = ((tmp_path / out / "model.safetensors").read_bytes() for out in ("first", "again", "anew"))
    assert first == again == anew
