import pytest
import torch

from core.errors import ModelLoadError
from core.settings import Settings
from retrieval import devices
from retrieval.devices import HALF_PRECISION_FROM, choose_placement, limit_threads


@pytest.mark.parametrize(
    ("has_bfloat16", "parameters", "dtype"),
    [
        (True, HALF_PRECISION_FROM, torch.bfloat16),
        (True, HALF_PRECISION_FROM - 1, torch.float32),
        (False, HALF_PRECISION_FROM, torch.float32),
    ],
)
def test_cpu_uses_bfloat16_for_large_models_where_it_has_it(
    monkeypatch: pytest.MonkeyPatch, *, has_bfloat16: bool, parameters: int, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: has_bfloat16)
    placement = choose_placement(Settings(device="cpu"), parameters=parameters)
    assert (placement.device.type, placement.dtype) == ("cpu", dtype)


def test_the_operators_type_wins() -> None:
    assert choose_placement(Settings(device="cpu", dtype="float16"), parameters=1).dtype == torch.float16


def test_cuda_demanded_but_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelLoadError, match="set device=cpu"):
        choose_placement(Settings(device="cuda"), parameters=1)
    assert choose_placement(Settings(device="auto"), parameters=1).device.type == "cpu"


def test_capability_is_known_here() -> None:
    assert devices.cpu_has_bfloat16() in {True, False}


def test_threads_are_limited_only_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", calls.append)
    limit_threads(Settings(torch_threads=0))
    limit_threads(Settings(torch_threads=3))
    assert calls == [3]
