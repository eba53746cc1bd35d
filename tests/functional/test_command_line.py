"""The `setr` command against the running service, as a user would type it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.settings import inherited_environment
from tests import pictures
from tests.functional.conftest import Service

pytestmark = pytest.mark.functional


def setr(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = inherited_environment() | {"SETR_URL": service.stack.url, "SETR_API_KEY": service.stack.api_key}
    command = [sys.executable, "-c", "from cli.main import main; main()", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603


def test_a_folder_is_imported_and_searched(service: Service, tmp_path: Path) -> None:
    (tmp_path / "shoes").mkdir()
    (tmp_path / "shoes" / "a.jpg").write_bytes(pictures.jpeg())
    (tmp_path / "b.webp").write_bytes(pictures.webp())
    done = setr(service, "import", str(tmp_path), "--gallery", "typed", "--create")
    assert done.returncode == 0, done.stderr
    found = setr(service, "search", "--gallery", "typed", "--image", str(tmp_path / "b.webp"), "--json")
    assert found.returncode == 0, found.stderr
    answer = json.loads(found.stdout)
    assert "shoes/a.jpg" in json.dumps(answer)


def test_a_wrong_gallery_is_one_clean_line(service: Service) -> None:
    done = setr(service, "search", "--gallery", "nowhere", "--text", "a dress")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_jobs_and_galleries_are_listed(service: Service) -> None:
    assert setr(service, "jobs").returncode == 0
    assert setr(service, "galleries").returncode == 0
