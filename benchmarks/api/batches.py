"""A file of queries as one job: how many a second."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.api.caller import Caller


@dataclass(frozen=True)
class Batch:
    """So many queries, from the upload of their file until the job has ended."""

    queries: int
    seconds: float

    @property
    def rate(self) -> float:
        """Queries a second."""
        return self.queries / self.seconds


def run_batch(http: httpx.Client, caller: Caller, gallery: str, queries: Sequence[Mapping[str, Any]]) -> Batch:
    """Send them as one file, wait for the end. CallFailedError unless every query was answered."""
    lines = "\n".join(json.dumps(query) for query in queries)
    began_s = time.perf_counter()
    answer = http.post(f"/galleries/{gallery}/query-batches", files={"file": ("queries.jsonl", lines.encode())})
    caller.ended(answer.raise_for_status().json()["id"])
    return Batch(len(queries), time.perf_counter() - began_s)
