"""Weights on disk and in memory: their shapes without reading them, and a digest that names them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open


def digest_weights(*state_dicts: Mapping[str, torch.Tensor]) -> str:
    """sha256 (hex) over names, types, shapes and bytes of the tensors, in the order of their names.

    The same tensors have the same digest, whichever file format or device they came from.
    """
    sha256 = hashlib.sha256()
    for state_dict in state_dicts:
        for name in sorted(state_dict):
            tensor = state_dict[name].detach().cpu().contiguous()
            sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            # As bytes, because numpy has no bfloat16; flat, because a scalar cannot be viewed as bytes.
            sha256.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def stored_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape of a safetensors file or a torch checkpoint (bare or under `state_dict`), data unread."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    tensors = content.get("state_dict", content)
    return {name.removeprefix("module."): tuple(tensor.shape) for name, tensor in tensors.items()}
