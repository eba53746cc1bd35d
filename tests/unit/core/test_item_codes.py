"""docs/importing.md explains every code that an item can fail with, no other, and each bad input that is tested."""

import ast
import re
from pathlib import Path

from tests.bad_input import CASES, POISON

ROOT = Path(__file__).parents[3]
IMPORT_MODULES = (
    "addresses",
    "archives",
    "buckets",
    "embedder",
    "embedding",
    "formats",
    "ingest",
    "items",
    "manifests",
    "mirror",
    "pictures",
    "planning",
    "quotas",
    "reading",
    "sources",
    "tarfiles",
    "urls",
    "zipfiles",
)
ADAPTERS = ("buckets", "web/addresses", "web/bodies", "web/fetcher", "web/hosts")
RAISERS = {
    "ItemError",
    "TemporaryItemError",
    "RowError",
    "_RowProblemError",
    "Rejected",
    "_failed",
    "failed",
    "fetch_failed",
    "ItemOutcome",
    "reject",
}
CODE = re.compile(r"[a-z]+(_[a-z]+)*")


def codes_of(path: Path) -> set[str]:
    """String literals that are arguments of the calls which make failures, and look like codes."""
    found = set()
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and _name(call.func) in RAISERS:
            for argument in call.args:
                branches = [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]
                found |= {one.value for one in branches if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return {code for code in found if CODE.fullmatch(code)}


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def test_every_code_is_in_the_table() -> None:
    table = set(re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs" / "importing.md").read_text(), re.MULTILINE))
    paths = [ROOT / "core" / f"{module}.py" for module in IMPORT_MODULES]
    paths += [ROOT / "storage" / f"{module}.py" for module in ADAPTERS]
    codes = set().union(*map(codes_of, paths))
    assert {"empty_file", "missing_external_id", "archive_bomb", "url_timeout", "bucket_refused"} <= codes
    assert codes == table, f"explain in docs/importing.md: {codes - table}; nobody says any more: {table - codes}"


def test_the_table_of_bad_input_is_what_the_tests_import() -> None:
    text = (ROOT / "docs" / "importing.md").read_text()
    table = text.partition("## Bad input")[2].partition("\n## ")[0]
    rows = re.findall(
        r"^\| (.+?) \| (imported|fails alone|the job fails) \| (?:`([a-z_]+)` )?\| \S", table, re.MULTILINE
    )
    assert len(rows) == len(set(rows)) == table.count("\n|") - 2
    assert set(rows) == {(case.said, case.outcome, case.code) for case in CASES} | {POISON}
