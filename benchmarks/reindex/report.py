"""A re-index under load as a table and JSON."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from benchmarks.reindex.load import median
from benchmarks.reindex.measure import Outcome, Plan
from benchmarks.report import ROOT, table, taken_on, write_results, write_section

DOCUMENT = ROOT / "docs" / "performance.md"


def summary(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """What issue D asks for: nothing failed, missing or stale."""
    job, tally = outcome.job, outcome.tally
    began, ended = (datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at"))
    return {
        "images": plan.images,
        "build_seconds": round((ended - began).total_seconds(), 2),
        "queries": tally.queries,
        "failed_queries": len(tally.failures),
        "missing": outcome.missing,
        "stale": outcome.stale,
        "upserts": tally.upserts,
        "recall_selfcheck": job["result"]["self_check"]["recall"],
        "rollback_seconds": round(outcome.rollback_s, 3),
    }


def is_clean(plan: Plan, outcome: Outcome) -> bool:
    """Whether nothing failed, nothing was missing or stale, and queries and looks met the new index."""
    found = summary(plan, outcome)
    failed = found["failed_queries"] + found["missing"] + found["stale"] + len(outcome.tally.failed_upserts)
    built = outcome.job["result"]["index_id"]
    met = built in outcome.tally.answered_by and built in {look.index_id for look in outcome.looks}
    return failed == 0 and met and outcome.killed and set(outcome.last) == {"active", "standby"}


def report(plan: Plan, outcome: Outcome, *, command: str, write: bool) -> str:
    """The table; with `write` also into docs/performance.md and benchmarks/results/reindex.json."""
    found, tally = summary(plan, outcome), outcome.tally
    rows = [
        ("images", f"{found['images']:,}"),
        ("re-index under load, from its start to the switch", f"{found['build_seconds']:.0f} s"),
        ("queries, failed", f"{found['queries']:,}, {found['failed_queries']}"),
        ("upserts, failed imports", f"{found['upserts']:,}, {len(tally.failed_upserts)}"),
        ("queries that the new index answered", f"{tally.answered_by.get(outcome.job['result']['index_id'], 0):,}"),
        (f"looks at the truth in SQL, missing, stale (of {len(outcome.last)} indexes in the end too)",
         f"{len(outcome.looks)}, {found['missing']}, {found['stale']}"),
        ("a look, median, longest", f"{median(outcome.look_s):.2f} s, {max(outcome.look_s):.2f} s"),
        ("embed worker killed half-way", "yes" if outcome.killed else "no"),
        ("recall of the self-check", f"{found['recall_selfcheck']:.3f}"),
        ("rollback", f"{1000 * outcome.rollback_s:.0f} ms"),
        ("query, submitted to final, median", f"{median(tally.query_s):.2f} s"),
        (f"import of {plan.rates.upserts} changes, sent to done, median", f"{median(tally.upsert_s):.2f} s"),
    ]  # fmt: skip
    setup = (
        f"{taken_on(command)} From the demo encoder to one of fewer dimensions, photos of 96 px; "
        f"{plan.rates.queries} queries and {plan.rates.upserts} upserts a second from before the start until after the "
        "rollback."
    )
    text = f"{setup}\n\n{table(('what', 'measured'), rows)}"
    if write:
        details = {
            "job": dict(outcome.job),
            "looks": [asdict(each) for each in outcome.looks],
            "look_s": [round(each, 3) for each in outcome.look_s],
            "last": {state: asdict(each) for state, each in outcome.last.items()},
            "answered_by": tally.answered_by,
            "failures": [*tally.failures, *tally.missing, *tally.failed_upserts][:50],
            "query_median_s": round(median(tally.query_s), 3),
            "upsert_median_s": round(median(tally.upsert_s), 3),
        }
        write_results("reindex", command=command, summary=found, details=details)
        write_section(DOCUMENT, "reindex", text)
    return text
