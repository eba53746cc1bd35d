"""Pictures to tensors, exactly as an open_clip model's own evaluation transform does it, but batched."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL.Image import Image as Picture


class Preprocessor:
    """Geometry picture by picture; colours for the whole batch on its device, so that bytes travel, not floats."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = PreprocessCfg(**config)
        # open_clip's transform ends in ToTensor and Normalize, which we do for the batch at once.
        *self._geometry, _to_tensor, _normalize = image_transform_v2(self._config, is_train=False).transforms

    @property
    def longer_side_px(self) -> int:
        """The longer side of what the model sees."""
        side: int = max(self._config.input_size[1:])
        return side

    def describe(self) -> str:
        """All that changes the numbers, as one line; part of the encoder's identity."""
        cfg = self._config
        height, width = cfg.input_size[1:]
        numbers = " ".join(f"{name}={','.join(f'{x:.8g}' for x in getattr(cfg, name))}" for name in ("mean", "std"))
        fill = f" fill={cfg.fill_color}" if cfg.resize_mode == "longest" else ""
        return f"{cfg.mode} {height}x{width} resize={cfg.resize_mode} interpolation={cfg.interpolation}{fill} {numbers}"

    def __call__(self, pictures: Sequence[Picture], *, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """[n, 3, h, w] of `dtype` on `device` for n >= 1 pictures of any size and mode."""
        fitted = [np.asarray(self.fit(picture), dtype=np.uint8) for picture in pictures]
        pixels = torch.from_numpy(np.stack(fitted)).to(device)
        batch = pixels.permute(0, 3, 1, 2).to(torch.float32)
        mean = torch.tensor(self._config.mean, device=device).view(1, 3, 1, 1) * 255
        std = torch.tensor(self._config.std, device=device).view(1, 3, 1, 1) * 255
        return batch.sub_(mean).div_(std).to(dtype)

    def fit(self, picture: Picture) -> Picture:
        """The picture resized and cropped to the model's input, RGB. What is fitted already comes out the same."""
        for step in self._geometry:
            picture = step(picture)
        return picture
