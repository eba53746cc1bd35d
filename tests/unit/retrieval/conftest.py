"""What every test of the method needs: one torch thread, silent libraries, tiny models on disk."""

from pathlib import Path

import pytest
import torch

from tests.unit.retrieval.tiny import clip_weights, write_demo_encoder, write_demo_reranker

HERE = Path(__file__).parent
THIRD_PARTY_WARNINGS = (
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning",  # peft 0.21 asks transformers 5.23 the old way
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE:
            for warning in THIRD_PARTY_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete models folder; tests that spoil a model write their own."""
    folder = tmp_path_factory.mktemp("models")
    write_demo_encoder(folder, clip_weights())
    write_demo_reranker(folder)
    return folder
