"""What a multimodal model sees of a picture: computed once for each picture, whatever is asked about it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from PIL.Image import Image as Picture

from core.recent import Recent
from retrieval.multimodal import MultimodalModel

GRIDS = "image_grid_thw"


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture as a language model takes it, n tokens of it.

    `ids` are its placeholders [n], `features` what stands in their places [n, hidden], `deeper` what some families
    (Qwen3-VL's DeepStack, arXiv 2406.04334) add in later layers, [n, hidden] each, and `grid` time, height and width
    in patches [1, 3], None for families without.
    """

    ids: torch.Tensor
    features: torch.Tensor
    deeper: tuple[torch.Tensor, ...]
    grid: torch.Tensor | None

    def size_bytes(self) -> int:
        """Memory that it takes."""
        return sum(tensor.nbytes for tensor in (self.ids, self.features, *self.deeper))


class Sight:
    """The vision half of a model with a memory of `room_bytes` for the pictures that it saw last.

    A gallery's pictures come up in query after query, and what a model sees in them depends on nothing else: not on
    the text, nor on the pictures beside them. Remembered features are those that the model would compute again, up to
    the rounding that differs from batch to batch. Not thread-safe.
    """

    def __init__(self, model: MultimodalModel, *, room_bytes: int) -> None:
        self._model = model
        self._recent: Recent[bytes, Seen] = Recent(room_bytes, Seen.size_bytes)

    def look(self, pictures: Sequence[Picture]) -> list[Seen]:
        """What is seen of each picture, in order; the new ones are looked at together, each once."""
        keys = [_digest(picture) for picture in pictures]
        found = {key: seen for key in keys if (seen := self._recent.get(key)) is not None}
        new = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in found}
        if new:
            for key, seen in zip(new, self._look_anew(list(new.values())), strict=True):
                found[key] = seen
                self._recent.put(key, seen)
        return [found[key] for key in keys]

    def _look_anew(self, pictures: Sequence[Picture]) -> list[Seen]:
        processor, placement = self._model.processor, self._model.placement
        inputs = processor(
            text=[processor.image_token] * len(pictures),
            images=[[picture] for picture in pictures],
            add_special_tokens=False,
            padding=True,
            padding_side="right",
            return_tensors="pt",
        ).to(placement.device, placement.dtype)
        ids, mask = inputs.pop("input_ids"), inputs.pop("attention_mask").bool()
        pixels = {name: value for name, value in inputs.items() if not name.endswith("token_type_ids")}
        with torch.inference_mode():
            outputs = self._model.network.base_model.get_image_features(**pixels, return_dict=True)
        deeper = getattr(outputs, "deepstack_features", None) or ()
        return [
            Seen(
                ids=row[kept],
                features=features.clone(),  # a view would keep the whole batch in memory
                deeper=tuple(layer[index].clone() for layer in deeper),
                grid=pixels[GRIDS][index : index + 1] if GRIDS in pixels else None,
            )
            for index, (row, kept, features) in enumerate(zip(ids, mask, outputs.pooler_output, strict=True))
        ]


def as_encoder_outputs(seen: Sequence[Seen]) -> dict[str, Any]:
    """`mm_encoder_outputs` of a forward pass whose placeholders stand for these pictures, in this order."""
    layers = zip(*(each.deeper for each in seen), strict=True)
    outputs = SimpleNamespace(
        pooler_output=[each.features for each in seen], deepstack_features=[list(layer) for layer in layers]
    )
    return {"image": outputs}


def _digest(picture: Picture) -> bytes:
    content = hashlib.blake2b(picture.tobytes(), digest_size=20)
    content.update(f"{picture.mode} {picture.size}".encode())
    return content.digest()
