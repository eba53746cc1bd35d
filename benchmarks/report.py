"""Where results go: JSON beside this file, tables between markers in the documents."""

import json
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
WORK = ROOT / "build" / "benchmarks"
"""Where drawn pictures and half-finished runs are kept; git ignores it."""


def machine() -> dict[str, object]:
    """What the numbers were taken on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def keep(path: Path, content: Mapping[str, Any]) -> None:
    """Write what one step of a resumable benchmark measured, whole or not at all."""
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(content, indent=2))
    unfinished.rename(path)


def write_results(
    name: str, *, command: str, summary: Mapping[str, Any], details: Mapping[str, Any], folder: Path = RESULTS
) -> Path:
    """Write `benchmarks/results/<name>.json`, or into another folder; returns its path."""
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "summary": summary,
        **details,
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def write_section(document: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name:begin -->` and `<!-- name:end -->`. ValueError without these markers."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    found, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}\n\n{text}\n\n{end}",
        document.read_text(),
        flags=re.DOTALL,
    )
    if count != 1:
        raise ValueError(f"{document} needs the markers {begin} and {end}, once.")
    document.write_text(found)


def taken_on(command: str) -> str:
    """The line above a table: date, command, machine."""
    known = machine()
    when = datetime.now(UTC).date().isoformat()
    return (
        f"{when}; `{command}`; {known['cores']} cores ({known['cpu']}), {known['memory_gib']} GiB, "
        f"Python {known['python']}."
    )


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
