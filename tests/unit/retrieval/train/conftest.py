"""What tests of training share: one torch thread, and the warnings of the libraries that train."""

from pathlib import Path

import pytest

from tests.unit.retrieval.conftest import THIRD_PARTY_WARNINGS

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE:
            for warning in THIRD_PARTY_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))
