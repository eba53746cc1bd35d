import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from retrieval.preprocessing import Preprocessor

CONFIG = {"size": (24, 24), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "interpolation": "bicubic"}


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(24, 24), (70, 31), (9, 40)])
def test_same_tensor_as_open_clips_own_transform(resize_mode: str, size: tuple[int, int]) -> None:
    config = {**CONFIG, "resize_mode": resize_mode}
    noise = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    theirs = image_transform_v2(PreprocessCfg(**config), is_train=False)(picture)
    ours = Preprocessor(config)([picture, picture], device=torch.device("cpu"), dtype=torch.float32)
    assert ours.shape == (2, 3, 24, 24)
    torch.testing.assert_close(ours[1], theirs, atol=1e-5, rtol=1e-5)


def test_description_names_what_changes_the_numbers() -> None:
    described = Preprocessor({**CONFIG, "resize_mode": "squash"}).describe()
    assert described == "RGB 24x24 resize=squash interpolation=bicubic mean=0.5,0.4,0.3 std=0.2,0.3,0.4"
    assert described != Preprocessor({**CONFIG, "resize_mode": "shortest"}).describe()


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(50, 31), (31, 50), (16, 16), (9, 40)])
def test_what_is_fitted_already_comes_out_the_same(mode: str, size: tuple[int, int]) -> None:
    picture = Image.effect_noise(size, 80).convert("RGB")
    preprocess = Preprocessor({**CONFIG, "resize_mode": mode})
    once = preprocess.fit(picture)
    assert preprocess.fit(once).tobytes() == once.tobytes()
