"""Encoders for benchmarks, as files that open_clip loads as strictly as any others."""

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import load_file, save_file

from benchmarks.report import WORK

ARCHITECTURE = "ViT-B-32"


def random_checkpoint() -> Path:
    """Of real size, with random weights. Made once (600 MB), then taken from the cache."""
    path = WORK / f"{ARCHITECTURE}-random.pt"
    if not path.exists():
        torch.manual_seed(0)
        unfinished = path.with_suffix(".new")
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        torch.save(open_clip.create_model(ARCHITECTURE).state_dict(), unfinished)
        unfinished.rename(path)
    return path


def narrowed_encoder(encoder: Path, dim: int, *, into: Path = WORK) -> Path:
    """The encoder in a folder with only its first `dim` dimensions: another index, and vectors that still mean much."""
    folder = into / f"{encoder.name}-{dim}"
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((encoder / "open_clip_config.json").read_text())
    config["model_cfg"]["embed_dim"] = dim
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = load_file(encoder / "open_clip_model.safetensors")
    for name in ("visual.proj", "text_projection"):
        weights[name] = weights[name][:, :dim].contiguous()
    save_file(weights, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    return folder
