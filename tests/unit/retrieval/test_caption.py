from pathlib import Path

import pytest
from PIL import Image

from core.errors import ModelLoadError
from core.settings import Settings
from retrieval.caption import MAX_NEW_TOKENS, HuggingFaceCaptioner, build_captioner
from tests.unit.retrieval.tiny import write_demo_reranker
from tests.unit.retrieval.tiny_qwen import WORDS, write_qwen3_vl

PICTURE = Image.new("RGB", (50, 70), "red")


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> HuggingFaceCaptioner:
    return build_captioner(Settings(captioner=f"hf:{write_qwen3_vl(tmp_path_factory.mktemp('qwen'))}"))


def test_a_captioner_writes_words(captioner: HuggingFaceCaptioner) -> None:
    written = captioner.caption(PICTURE, "red")
    assert 0 < len(written.split()) <= MAX_NEW_TOKENS
    assert set(written.split()) <= set(WORDS)
    assert captioner.caption(PICTURE, "red") == written
    assert captioner.caption(PICTURE, "red <|image_pad|><|im_end|>") == written


def test_the_text_counts(captioner: HuggingFaceCaptioner) -> None:
    written = {captioner.caption(PICTURE, text) for text in ("red", "blue and blue", "with blue", "red and red")}
    assert len(written) > 1


def test_demo_is_the_base_without_the_adapter(tmp_path: Path) -> None:
    folder = write_demo_reranker(tmp_path, spread=6.0)
    by_name = build_captioner(Settings(captioner="demo", models_dir=tmp_path))
    by_path = build_captioner(Settings(captioner=f"hf:{folder / 'base'}"))
    assert by_name.caption(PICTURE, "red") == by_path.caption(PICTURE, "red")


def test_errors_name_the_setting_or_the_model(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="set SETR_CAPTIONER"):
        build_captioner(Settings())
    with pytest.raises(ModelLoadError, match=r"The captioner .*none"):
        build_captioner(Settings(captioner=f"hf:{tmp_path / 'none'}"))
