"""Encoders of real size with random weights, as files that open_clip loads as strictly as trained ones."""

from pathlib import Path

import open_clip
import torch

from benchmarks.report import WORK

ARCHITECTURE = "ViT-B-32"


def random_checkpoint() -> Path:
    """Made once (600 MB), then taken from the cache."""
    path = WORK / f"{ARCHITECTURE}-random.pt"
    if not path.exists():
        torch.manual_seed(0)
        unfinished = path.with_suffix(".new")
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        torch.save(open_clip.create_model(ARCHITECTURE).state_dict(), unfinished)
        unfinished.rename(path)
    return path
