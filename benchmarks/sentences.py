"""sentence-transformers with CLIP ViT-B/32, random weights from a local folder: what others would use instead."""

import importlib
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.report import WORK


def installed() -> bool:
    """Whether the package can be imported."""
    return importlib.util.find_spec("sentence_transformers") is not None


class SentenceTransformersSide:
    """Photos from memory, opened and encoded as its documentation does it: a list of PIL pictures, in batches."""

    def __init__(self, photos: Sequence[bytes], device: torch.device, dtype: torch.dtype, *, batch: int) -> None:
        package = importlib.import_module("sentence_transformers")
        self._photos = photos
        self._batch = batch
        # By the name that its documentation uses for types; the device is that of the other sides.
        self._model: Any = package.SentenceTransformer(
            str(_checkpoint()), device=str(device), model_kwargs={"torch_dtype": str(dtype).removeprefix("torch.")}
        )

    def __call__(self) -> int:
        """Encode all; returns how many."""
        pictures = [Image.open(io.BytesIO(photo)) for photo in self._photos]
        vectors = self._model.encode(
            pictures, batch_size=self._batch, normalize_embeddings=True, show_progress_bar=False
        )
        return len(vectors)


def _checkpoint() -> Path:
    """A folder as transformers saves it; the tokenizer is a stub, since only pictures are encoded."""
    folder = WORK / "clip-vit-base-patch32-random"
    if not folder.exists():
        from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

        torch.manual_seed(0)
        unfinished = folder.with_suffix(".new")
        CLIPModel(CLIPConfig()).save_pretrained(unfinished)
        tokenizer = CLIPTokenizer(vocab={"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}, merges=[])
        processor: Any = CLIPProcessor(CLIPImageProcessor(), tokenizer)  # type: ignore[no-untyped-call]
        processor.save_pretrained(unfinished)
        unfinished.rename(folder)
    return folder
