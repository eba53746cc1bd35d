"""The laws of docs/architecture.md that no linter knows."""

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("api", "benchmarks", "cli", "core", "migrations", "retrieval", "storage", "workers")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_P90_FUNCTION_LINES = 30


def parsed() -> Iterator[tuple[str, ast.Module]]:
    for path in SOURCES:
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def calls_of_method(tree: ast.Module, *names: str) -> list[ast.Attribute]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in names]


def function_lengths() -> dict[str, int]:
    return {
        f"{name}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name, tree in parsed()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }


def test_modules_stay_small() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_MODULE_LINES} == {}


def test_functions_stay_short() -> None:
    lengths = function_lengths()
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}
    assert statistics.quantiles(lengths.values(), n=10)[-1] <= MAX_P90_FUNCTION_LINES


def test_only_the_unit_of_work_and_its_users_commit() -> None:
    """A session commits in storage/uow.py; use cases commit the unit of work, repositories never."""
    offenders = [
        name
        for name, tree in parsed()
        if name.startswith(("storage/", "api/", "retrieval/"))
        and name != "storage/uow.py"
        and calls_of_method(tree, "commit")
    ]
    assert [name for name in offenders if not name.startswith("api/idempotency")] == []


def test_messages_are_sent_in_one_place() -> None:
    senders = [name for name, tree in parsed() if calls_of_method(tree, "delay", "apply_async", "send_task")]
    assert senders == ["workers/dispatch.py"]


def test_the_environment_is_read_in_one_place() -> None:
    readers = [
        name
        for name, tree in parsed()
        for node in calls_of_method(tree, "environ", "getenv")
        if isinstance(node.value, ast.Name) and node.value.id == "os"
    ]
    assert set(readers) <= {"core/settings.py"}


def test_broad_excepts_re_raise_or_record() -> None:
    """`except Exception` must raise, or log with the traceback what it then records as a failure."""
    silent = [
        f"{name}:{handler.lineno}"
        for name, tree in parsed()
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler) and _is_broad(handler) and not _speaks(handler)
    ]
    assert silent == []


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or getattr(handler.type, "id", "") in {"Exception", "BaseException"}


def _speaks(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) for node in ast.walk(handler)) or any(
        isinstance(node, ast.Attribute) and node.attr == "exception" for node in ast.walk(handler)
    )


@pytest.mark.parametrize("package", ["core", "workers", "storage", "retrieval", "api"])
def test_nothing_is_built_at_import(package: str) -> None:
    """Module level holds definitions and constants: no engine, client, model or app."""
    builders = {"Celery", "create_engine", "Minio", "APIFlask", "Flask", "load_settings", "Settings"}
    built = [
        f"{name}:{node.lineno}"
        for name, tree in parsed()
        if name.startswith(package)
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr)
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in builders
    ]
    assert built == []
