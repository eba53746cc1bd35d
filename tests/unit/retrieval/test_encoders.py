import gc
import json
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from core.errors import ModelLoadError
from core.settings import Settings
from retrieval import encoders
from retrieval.encoders import EncoderRegistry, OpenClipEncoder, load_encoder
from tests.unit.retrieval.tiny import CLIP_CONFIG, clip_weights, write_demo_encoder

PICTURES = [Image.new("RGB", (20 + i, 30), (40 * i, 200 - 30 * i, 7)) for i in range(5)]


@pytest.fixture(scope="module")
def encoder(models_dir: Path) -> OpenClipEncoder:
    return load_encoder("demo", Settings(models_dir=models_dir, embed_batch=2))


@pytest.fixture
def architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The tiny architecture, registered with open_clip under a name for one test."""
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", [*open_clip.factory._MODEL_CONFIG_PATHS])
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {**open_clip.factory._MODEL_CONFIGS})
    path = tmp_path / "tiny-test.json"
    path.write_text(json.dumps(CLIP_CONFIG))
    open_clip.add_model_config(path)
    return path.stem


def test_unit_vectors_of_any_number(encoder: OpenClipEncoder) -> None:
    for vectors in (encoder.encode_images(PICTURES), encoder.encode_texts(["a", "b c", "d", "", "e"])):
        assert vectors.shape == (5, 16)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert encoder.encode_images([]).shape == (0, 16)
    assert encoder.encode_texts([]).shape == (0, 16)


def test_same_vectors_in_any_batch(encoder: OpenClipEncoder) -> None:
    alone = np.concatenate([encoder.encode_images([picture]) for picture in PICTURES])
    np.testing.assert_allclose(encoder.encode_images(PICTURES), alone, atol=1e-5)


def test_batches_shrink_until_they_fit_into_memory(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_encoder("demo", Settings(models_dir=models_dir, embed_batch=5))
    whole = encoder.encode_images(PICTURES)
    sizes: list[int] = []
    compute = encoder._image_features

    def small_card(pictures: Sequence[Image.Image]) -> torch.Tensor:
        sizes.append(len(pictures))
        if len(pictures) > 1:
            raise torch.OutOfMemoryError
        return compute(pictures)

    monkeypatch.setattr(encoder, "_image_features", small_card)
    np.testing.assert_allclose(encoder.encode_images(PICTURES), whole, atol=1e-5)
    assert sizes == [5, 2, 1, 1, 1, 1, 1]


def test_a_picture_that_fits_no_memory_is_an_error(encoder: OpenClipEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_card(pictures: Sequence[Image.Image]) -> torch.Tensor:
        raise torch.OutOfMemoryError(len(pictures))

    monkeypatch.setattr(encoder, "_image_features", no_card)
    monkeypatch.setattr(encoder, "_batch", 1)
    with pytest.raises(torch.OutOfMemoryError):
        encoder.encode_images(PICTURES)


def test_same_vectors_as_open_clip_itself(encoder: OpenClipEncoder, models_dir: Path) -> None:
    name = f"local-dir:{models_dir / 'demo-encoder'}"
    model, _, transform = open_clip.create_model_and_transforms(name)
    with torch.inference_mode():
        images = model.eval().encode_image(torch.stack([transform(p) for p in PICTURES]), normalize=True)
        texts = model.encode_text(open_clip.get_tokenizer(name)(["a red dress"]), normalize=True)
    np.testing.assert_allclose(encoder.encode_images(PICTURES), images.numpy(), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(["a red dress"]), texts.numpy(), atol=1e-5)


def test_identity_names_weights_and_preprocessing(encoder: OpenClipEncoder, models_dir: Path, tmp_path: Path) -> None:
    identity = encoder.identity
    assert (identity.spec, identity.architecture, identity.dim) == ("demo", "demo-encoder", 16)
    assert identity.preprocessing.startswith("RGB 16x16 resize=squash interpolation=bicubic mean=0.48")
    assert load_encoder("demo", Settings(models_dir=models_dir)).identity == identity
    other = clip_weights()
    other["visual.proj"] = other["visual.proj"] + 1e-3
    write_demo_encoder(tmp_path, other)
    assert load_encoder("demo", Settings(models_dir=tmp_path)).identity.weights_sha256 != identity.weights_sha256


def test_text_limit_counts_start_and_end(encoder: OpenClipEncoder) -> None:
    assert encoder.max_text_tokens == 12
    assert [encoder.is_cut(" ".join("x" * words)) for words in (0, 1, 10, 11, 12, 40)] == [False] * 3 + [True] * 3


def test_encoding_from_many_threads(encoder: OpenClipEncoder) -> None:
    texts = [f"text {i}" for i in range(8)]
    expected = encoder.encode_texts(texts)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: encoder.encode_texts(texts), range(8)))
    for result in results:
        np.testing.assert_allclose(result, expected, atol=1e-6)


def test_missing_tensor_is_named(tmp_path: Path) -> None:
    weights = clip_weights()
    del weights["visual.ln_post.bias"]
    write_demo_encoder(tmp_path, weights)
    with pytest.raises(ModelLoadError, match=r"Missing key.*visual\.ln_post\.bias"):
        load_encoder("demo", Settings(models_dir=tmp_path))


def test_unexpected_tensor_is_named(tmp_path: Path) -> None:
    write_demo_encoder(tmp_path, {**clip_weights(), "visual.extra": torch.zeros(2)})
    with pytest.raises(ModelLoadError, match=r"Unexpected key.*visual\.extra"):
        load_encoder("demo", Settings(models_dir=tmp_path))


@pytest.mark.parametrize("name", ["visual.proj", "visual.positional_embedding", "positional_embedding"])
def test_tensor_of_another_shape_is_named(tmp_path: Path, name: str) -> None:
    weights = clip_weights()
    rows, columns = weights[name].shape
    # Enough rows for a square grid, which open_clip would stretch without a word.
    weights[name] = torch.zeros(17 if "visual.pos" in name else rows + 1, columns)
    write_demo_encoder(tmp_path, weights)
    with pytest.raises(ModelLoadError, match=name.replace(".", r"\.")):
        load_encoder("demo", Settings(models_dir=tmp_path))


def test_absent_weights_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"no weights file .*open_clip_model\.safetensors"):
        load_encoder("demo", Settings(models_dir=tmp_path))
    with pytest.raises(ModelLoadError, match=r"no weights file .*none\.pt"):
        load_encoder(f"open_clip:ViT-B-32@{tmp_path / 'none.pt'}", Settings())


def test_garbage_instead_of_weights(tmp_path: Path) -> None:
    folder = write_demo_encoder(tmp_path, clip_weights())
    (folder / "open_clip_model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(ModelLoadError, match="cannot be loaded completely"):
        load_encoder("demo", Settings(models_dir=tmp_path))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_local_checkpoint_of_a_known_architecture(tmp_path: Path, architecture: str, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": clip_weights()}, path)
    else:
        save_file(clip_weights(), path)
    spec = f"open_clip:{architecture}@{path}"
    encoder = load_encoder(spec, Settings())
    assert (encoder.identity.spec, encoder.identity.architecture) == (spec, architecture)
    assert encoder.encode_images(PICTURES[:1]).shape == (1, 16)


def test_unknown_architecture_suggests_close_ones() -> None:
    with pytest.raises(ModelLoadError, match=r"Close ones: .*ViT-B-32"):
        load_encoder("open_clip:ViT-B32/openai", Settings())


def test_unknown_tag() -> None:
    with pytest.raises(ModelLoadError, match="nothing_like_it"):
        load_encoder("open_clip:ViT-B-32/nothing_like_it", Settings())


def test_tag_of_another_activation_is_refused() -> None:
    with pytest.raises(ModelLoadError, match="use open_clip:ViT-B-32-quickgelu/openai"):
        load_encoder("open_clip:ViT-B-32/openai", Settings())


def test_registry_loads_each_name_once_for_all_threads(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    both_wait = threading.Barrier(2)

    def load(spec: str, settings: Settings) -> OpenClipEncoder:
        loads.append(spec)
        return load_encoder(spec, settings)

    def get(registry: EncoderRegistry) -> OpenClipEncoder:
        both_wait.wait(timeout=10)
        return registry.get("mine")

    monkeypatch.setattr(encoders, "load_encoder", load)
    registry = EncoderRegistry(Settings(models_dir=models_dir, encoders={"mine": "demo"}))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(get, [registry, registry])
    assert first is second
    registry.warm_up("mine")
    assert loads == ["demo"]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, models_dir: Path) -> tuple[EncoderRegistry, list[str]]:
    """A registry of three encoders that keeps two, and what it loaded. The specs `a`, `b` and `c` load one file."""
    loads: list[str] = []

    def load(spec: str, settings: Settings) -> OpenClipEncoder:
        loads.append(spec)
        if spec == "broken":
            raise ModelLoadError("Not this one.")
        return load_encoder("demo", settings)

    monkeypatch.setattr(encoders, "load_encoder", load)
    specs = {"first": "a", "second": "b", "third": "c", "alias": "a", "wrong": "broken"}
    return EncoderRegistry(Settings(models_dir=models_dir, encoders=specs, models_per_worker=2)), loads


def test_registry_keeps_those_used_last(counted: tuple[EncoderRegistry, list[str]]) -> None:
    registry, loads = counted
    first = registry.get("first")
    registry.get("second")
    assert registry.get("alias") is first
    registry.get("third")  # lets go of the second, which was used before the first
    assert registry.get("first") is first
    assert loads == ["a", "b", "c"]
    registry.get("second")
    assert loads == ["a", "b", "c", "b"]


def test_an_encoder_that_was_let_go_still_works_for_whoever_holds_it(
    counted: tuple[EncoderRegistry, list[str]],
) -> None:
    registry, _ = counted
    held = weakref.ref(registry.get("first"))
    encoder = registry.get("first")
    for name in ("second", "third"):
        registry.get(name)
    assert encoder.encode_texts(["red"]).shape == (1, encoder.identity.dim)
    del encoder
    gc.collect()
    assert held() is None


def test_an_encoder_that_cannot_be_loaded_costs_no_other(counted: tuple[EncoderRegistry, list[str]]) -> None:
    registry, loads = counted
    kept = [registry.get("first"), registry.get("second")]
    for _ in range(2):
        with pytest.raises(ModelLoadError):
            registry.get("wrong")
    assert [registry.get("first"), registry.get("second")] == kept
    assert loads == ["a", "b", "broken", "broken"]


def test_nobody_waits_for_an_encoder_that_is_being_loaded_but_who_wants_it(
    counted: tuple[EncoderRegistry, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, _ = counted
    first = registry.get("first")
    begun, go_on = threading.Event(), threading.Event()

    def slow(spec: str, settings: Settings) -> OpenClipEncoder:
        assert spec == "b"
        begun.set()
        assert go_on.wait(timeout=10)
        return load_encoder("demo", settings)

    monkeypatch.setattr(encoders, "load_encoder", slow)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(registry.get, "second") for _ in range(2)]
        assert begun.wait(timeout=10)
        assert registry.get("first") is first
        go_on.set()
        assert waiting[0].result() is waiting[1].result()


def test_registry_refuses_names_that_are_not_listed() -> None:
    registry = EncoderRegistry(Settings(encoders={"b": "demo", "a": "demo"}))
    with pytest.raises(ModelLoadError, match=r"'c'\. Use one of a, b"):
        registry.get("c")
