"""Every code that an item can fail with is explained in docs/importing.md."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
IMPORT_MODULES = (
    "addresses",
    "archives",
    "buckets",
    "embedding",
    "formats",
    "ingest",
    "items",
    "manifests",
    "mirror",
    "pictures",
    "planning",
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
}
CODE = re.compile(r"[a-z]+(_[a-z]+)*")


def codes_of(path: Path) -> set[str]:
    """String literals that are arguments of the calls which make failures, and look like codes."""
    found = set()
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in RAISERS:
            for argument in call.args:
                branches = [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]
                found |= {one.value for one in branches if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return {code for code in found if CODE.fullmatch(code)}


def test_every_code_is_in_the_table() -> None:
    table = set(re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs" / "importing.md").read_text(), re.MULTILINE))
    paths = [ROOT / "core" / f"{module}.py" for module in IMPORT_MODULES]
    paths += [ROOT / "storage" / f"{module}.py" for module in ADAPTERS]
    codes = set().union(*map(codes_of, paths))
    assert {"empty_file", "missing_external_id", "archive_bomb", "url_timeout", "bucket_refused"} <= codes
    assert codes <= table, f"explain in docs/importing.md: {sorted(codes - table)}"
