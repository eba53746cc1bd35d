"""Where models compute and in which type."""

from dataclasses import dataclass

import torch

from core.errors import ModelLoadError
from core.settings import Settings

HALF_PRECISION_FROM = 20_000_000
"""Parameters from which a CPU gains by bfloat16: ViT-B/32 runs about twice as fast, while models of a few million
parameters are bound by overhead and only lose precision."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A device and the floating-point type to compute in there."""

    device: torch.device
    dtype: torch.dtype


def choose_placement(settings: Settings, *, parameters: int) -> Placement:
    """Where and how a model of so many parameters computes.

    `auto` types: on CUDA bfloat16 where the card has it in hardware, else float16; on CPUs bfloat16 for models from
    `HALF_PRECISION_FROM` parameters where the CPU multiplies it in hardware; else float32.
    ModelLoadError when CUDA is demanded but absent.
    """
    device = choose_device(settings)
    if settings.dtype != "auto":
        chosen: torch.dtype = getattr(torch, settings.dtype)
        return Placement(device, chosen)
    if device.type == "cuda":
        return Placement(device, torch.bfloat16 if _card_has_bfloat16(device) else torch.float16)
    half = parameters >= HALF_PRECISION_FROM and cpu_has_bfloat16()
    return Placement(device, torch.bfloat16 if half else torch.float32)


def choose_device(settings: Settings) -> torch.device:
    """The device that the settings name; `auto` takes CUDA when there is a card."""
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ModelLoadError("device is set to cuda but torch sees no CUDA card: install a driver, or set device=cpu.")
    if settings.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(settings.device)


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX); emulation is slower than float32."""
    # torch has no public query for it that exists in every version from 2.8 on.
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())  # noqa: SLF001


def halved_where_fast(device: torch.device) -> torch.autocast:
    """A context for training small models: bfloat16 where the device multiplies it in hardware, else float32.

    Emulated bfloat16 was measured at a fourteenth of the speed of float32 (AVX2 without AVX512-BF16).
    """
    fast = _card_has_bfloat16(device) if device.type == "cuda" else cpu_has_bfloat16()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def limit_threads(settings: Settings) -> None:
    """Apply `torch_threads` to this process; 0 leaves torch's own choice."""
    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)


def _card_has_bfloat16(device: torch.device) -> bool:
    # Compute capability 8 (Ampere) is the first with bfloat16 tensor cores; is_bf16_supported() also counts emulation.
    return torch.cuda.get_device_capability(device)[0] >= 8  # noqa: PLR2004
