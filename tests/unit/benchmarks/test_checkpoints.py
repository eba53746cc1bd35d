from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.checkpoints import narrowed_encoder
from core.settings import Settings
from retrieval.encoders import load_encoder


def test_a_narrowed_encoder_keeps_the_first_dimensions(tmp_path: Path) -> None:
    settings = Settings(torch_threads=1)
    whole = load_encoder("demo", settings)
    folder = narrowed_encoder(settings.models_dir / "demo-encoder", 96, into=tmp_path)
    narrow = load_encoder(f"local-dir:{folder}", settings)
    assert (whole.identity.dim, narrow.identity.dim) == (128, 96)
    assert narrow.identity.weights_sha256 != whole.identity.weights_sha256
    picture = Image.new("RGB", (64, 64), "red")
    for long, short in (
        (whole.encode_images([picture])[0], narrow.encode_images([picture])[0]),
        (whole.encode_texts(["a red bag"])[0], narrow.encode_texts(["a red bag"])[0]),
    ):
        expected = long[:96] / np.linalg.norm(long[:96])
        assert np.allclose(short, expected, atol=1e-2)
