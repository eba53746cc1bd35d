"""A shared prefix must not change a score: each family against the plain forward pass, pictures of all shapes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image

from core.settings import Settings
from retrieval.multimodal import MAX_IMAGE_TOKENS, load_multimodal, load_processor
from retrieval.prefix import PREFIX_FAMILIES
from retrieval.rerank import HuggingFaceJudge, build_judge
from retrieval.specs import JudgeSource
from retrieval.train.lora import language_linears
from tests.unit.retrieval.tiny import write_demo_reranker
from tests.unit.retrieval.tiny_qwen import write_qwen2_5_vl, write_qwen3_vl

WRITERS: dict[str, Callable[[Path], Path]] = {
    "llava": lambda folder: write_demo_reranker(folder, spread=6.0) / "base",
    "qwen2_5_vl": write_qwen2_5_vl,
    "qwen3_vl": write_qwen3_vl,
}
SIZES = ((60, 90), (200, 64), (130, 130), (30, 30), (64, 220))


def picture(number: int) -> Image.Image:
    """Noise, so that no two patches are alike."""
    width, height = SIZES[number % len(SIZES)]
    generator = torch.Generator().manual_seed(number)
    pixels = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def write_adapter(base: Path, folder: Path) -> Path:
    """A random adapter on the linear layers of a base's language model."""
    network = load_multimodal(JudgeSource(str(base), lora=None), Settings(), role="judge").network
    shape = LoraConfig(r=4, lora_alpha=8, target_modules=language_linears(network), init_lora_weights=False)
    torch.manual_seed(1)
    get_peft_model(network, shape).save_pretrained(str(folder))
    return folder


REFERENCE, CANDIDATES = picture(1), [picture(number) for number in range(2, 9)]


@pytest.fixture(scope="module", params=sorted(PREFIX_FAMILIES))
def judge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., HuggingFaceJudge]:
    """Judges of a family, saved and loaded as real ones."""
    folder = WRITERS[request.param](tmp_path_factory.mktemp(request.param))

    def build(*, batch: int = 3, share_prefix: bool = True, memory_mib: int = 1) -> HuggingFaceJudge:
        settings = Settings(reranker=f"hf:{folder}", rerank_batch=batch, rerank_memory_mib=memory_mib)
        return build_judge(settings, share_prefix=share_prefix)

    return build


def counting_looks(judge: HuggingFaceJudge) -> Callable[[], int]:
    """How many pictures the judge's processor has been given from now on."""
    looked_at: list[object] = []
    pictures = judge._model.processor.image_processor
    original = type(pictures).preprocess

    def counting(images: object, **options: object) -> object:
        looked_at.append(images)
        return original(pictures, images, **options)

    pictures.preprocess = counting
    return lambda: sum(str(images).count("PIL.Image.Image") for images in looked_at)


def test_scores_are_those_of_the_plain_forward_pass(judge: Callable[..., HuggingFaceJudge]) -> None:
    plain = judge(share_prefix=False).score(REFERENCE, "red with blue", CANDIDATES)
    shared = judge().score(REFERENCE, "red with blue", CANDIDATES)
    assert len({round(score, 4) for score in plain}) == len(CANDIDATES)
    assert shared == pytest.approx(plain, abs=2e-5)


def test_reference_and_text_count_and_the_batch_does_not(judge: Callable[..., HuggingFaceJudge]) -> None:
    shared = judge()
    scores = shared.score(REFERENCE, "red", CANDIDATES)
    assert shared.score(picture(0), "red", CANDIDATES) != pytest.approx(scores, abs=1e-3)
    assert shared.score(REFERENCE, "blue and blue", CANDIDATES) != pytest.approx(scores, abs=1e-3)
    assert shared.score(REFERENCE, "red", CANDIDATES) == scores
    assert judge(batch=1).score(REFERENCE, "red", CANDIDATES) == pytest.approx(scores, abs=2e-5)


def test_the_reference_is_looked_at_once(judge: Callable[..., HuggingFaceJudge]) -> None:
    shared = judge(memory_mib=0)
    looks = counting_looks(shared)
    shared.score(REFERENCE, "red", CANDIDATES)
    assert looks() == 1 + len(CANDIDATES)


def test_a_picture_is_looked_at_once_whatever_is_asked_about_it(judge: Callable[..., HuggingFaceJudge]) -> None:
    shared = judge()
    looks = counting_looks(shared)
    shared.score(REFERENCE, "red", CANDIDATES[:4])
    shared.score(CANDIDATES[0], "blue", [*CANDIDATES[::-1], REFERENCE, CANDIDATES[6]])
    assert looks() == 1 + len(CANDIDATES)


def test_remembered_pictures_score_as_seen_anew(judge: Callable[..., HuggingFaceJudge]) -> None:
    forgetful, shared = judge(memory_mib=0), judge()
    shared.score(CANDIDATES[3], "blue", [REFERENCE, *CANDIDATES[::-1]])  # other neighbours in every batch
    expected = forgetful.score(REFERENCE, "red with blue", CANDIDATES)
    assert shared.score(REFERENCE, "red with blue", CANDIDATES) == pytest.approx(expected, abs=2e-5)


def test_pictures_of_the_same_bytes_but_another_shape_are_two(judge: Callable[..., HuggingFaceJudge]) -> None:
    wide, tall = (Image.frombytes("RGB", size, REFERENCE.tobytes()) for size in ((200, 64), (64, 200)))
    expected = judge(memory_mib=0).score(REFERENCE, "red", [wide, tall])
    assert judge().score(REFERENCE, "red", [wide, tall]) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("bfloat16", 0.05)])
@pytest.mark.parametrize("family", sorted(PREFIX_FAMILIES))
def test_an_adapter_counts_after_a_shared_prefix_too(family: str, dtype: str, tolerance: float, tmp_path: Path) -> None:
    """Added to the weights in float32, beside them in coarser types."""
    base = WRITERS[family](tmp_path / "base")
    spec = f"hf:{base}+lora={write_adapter(base, tmp_path / 'lora')}"

    def scores(spec: str, *, share_prefix: bool) -> list[float]:
        settings = Settings(reranker=spec, rerank_batch=3, dtype=dtype)
        return build_judge(settings, share_prefix=share_prefix).score(REFERENCE, "red with blue", CANDIDATES)

    plain = scores(spec, share_prefix=False)
    assert scores(spec, share_prefix=True) == pytest.approx(plain, abs=tolerance)
    assert scores(f"hf:{base}", share_prefix=True) != pytest.approx(plain, abs=2 * tolerance)


def test_other_families_run_each_prompt_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(reranker=f"hf:{WRITERS['llava'](tmp_path)}")
    monkeypatch.setattr("retrieval.rerank.PREFIX_FAMILIES", {})
    expected = build_judge(settings, share_prefix=False).score(REFERENCE, "red", CANDIDATES)
    assert build_judge(settings).score(REFERENCE, "red", CANDIDATES) == expected


@pytest.mark.parametrize("writer", [write_qwen2_5_vl, write_qwen3_vl])
def test_large_pictures_take_a_bounded_number_of_tokens(writer: Callable[[Path], Path], tmp_path: Path) -> None:
    processor = load_processor(str(writer(tmp_path)), role="judge")
    inputs = processor(text=[processor.image_token], images=[[Image.new("RGB", (3000, 2000))]], return_tensors="pt")
    assert MAX_IMAGE_TOKENS * 0.8 < inputs["input_ids"].shape[1] <= MAX_IMAGE_TOKENS


def test_slim_pictures_are_judged_like_any(judge: Callable[..., HuggingFaceJudge]) -> None:
    slim = [Image.new("RGB", size, "red") for size in ((700, 2), (2, 700))]
    plain = judge(share_prefix=False).score(slim[0], "red", slim)
    assert judge().score(slim[0], "red", slim) == pytest.approx(plain, abs=2e-5)
