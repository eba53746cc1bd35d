"""What the documents say against the code: settings and their defaults, links, make targets, commands."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from cli.main import SECTIONS
from core.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "docs" / "configuration.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
PACKAGES = ("api", "benchmarks", "cli", "core", "migrations", "retrieval", "storage", "workers", "tests")
CLIENT_VARIABLES = {"SETR_URL", "SETR_API_KEY"}

ids = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]


def shown(default: Any) -> str:
    """A default as the tables show it."""
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:g}"
    if isinstance(default, dict | tuple):
        return json.dumps(default)
    if isinstance(default, Path) and default.is_absolute():
        return default.relative_to(ROOT).as_posix()
    return str(default)


def without_code_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def make_targets_named(text: str) -> set[str]:
    """`make NAME` in code: in back-ticks, or at the start of a command line."""
    return set(re.findall(r"(?:`|^)(?:\w+=\S+ )*make ([a-z][a-z-]*)", text, flags=re.MULTILINE))


def test_every_setting_is_documented_with_its_default_and_none_is_invented() -> None:
    rows = re.findall(r"^\| `(SETR_\w+)` \| (?:`(.*?)` )?\|", CONFIGURATION.read_text(), flags=re.MULTILINE)
    documented = dict(rows)
    assert len(documented) == len(rows), "a setting has two rows"
    actual = {
        f"{ENV_PREFIX}{name.upper()}": shown(field.get_default(call_default_factory=True, validated_data={}))
        for name, field in Settings.model_fields.items()
    }
    assert documented == actual


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_settings_named_in_documents_exist(path: Path) -> None:
    named = set(re.findall(r"\bSETR_[A-Z0-9]+(?:_[A-Z0-9]+)*\b", path.read_text()))
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert named - known - CLIENT_VARIABLES == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_relative_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code_blocks(path.read_text()))
    local = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert [target for target in local if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert make_targets_named(path.read_text()) - targets == set()


def test_the_readme_names_the_two_commands() -> None:
    assert {"demo", "test"} <= make_targets_named((ROOT / "README.md").read_text())


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_commands_named_in_documents_exist(path: Path) -> None:
    named = set(re.findall(r"(?:`|^\s*|bin/)setr ([a-z][a-z-]*)", path.read_text(), flags=re.MULTILINE))
    known = {name for entries in SECTIONS.values() for name in entries}
    assert named - known == set()


@pytest.mark.parametrize("path", DECISIONS, ids=[path.stem for path in DECISIONS])
def test_decisions_have_their_four_parts_and_a_place_in_the_index(path: Path) -> None:
    text = path.read_text()
    number, title = text.splitlines()[0].removeprefix("# ").split(". ", 1)
    assert path.name.startswith(f"{number}-")
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == ["Status", "Context", "Decision", "Consequences"]
    assert f"[{number}]({path.name}) | {title} |" in (path.parent / "README.md").read_text()


def test_decisions_named_in_the_code_exist() -> None:
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    named = {number for path in sources for number in re.findall(r"docs/adr/(\d{4})", path.read_text())}
    assert named <= {path.name[:4] for path in DECISIONS}
