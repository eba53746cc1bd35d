"""An evaluation as numbers: metrics with intervals, slices, and everything that they depend on. Percent throughout."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from core.errors import InvalidInputError
from retrieval.evaluate.explanations import explanation_shares
from retrieval.evaluate.protocols import Ranked
from retrieval.evaluate.run import Answer, Evaluation
from retrieval.evaluate.statistics import Values, bootstrap_interval, mean, paired_interval, ratio_interval

Rows = dict[str, list[Values]]
"""Metric -> one array of per-query values for each part."""

_Choice = Callable[[Answer], Ranked]


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric in percent with its 95 % bootstrap interval."""

    percent: float
    ci95: tuple[float, float]

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"percent": self.percent, "ci95": list(self.ci95)}


def final(answer: Answer) -> Ranked:
    """The ranking after the last stage."""
    return answer.ranked


def coarse(answer: Answer) -> Ranked:
    """The ranking after stage 1."""
    return answer.coarse


def metric_rows(evaluation: Evaluation, stage: _Choice = final, *, label: str | None = None) -> Rows:
    """Per-query metrics in 0..1 of one stage, for all queries or those of a slice; parts without any are left out.

    InvalidInputError when the split's targets are only known to a server.
    """
    rows: Rows = {}
    for part in evaluation.answers:
        chosen = [answer for answer in part if label is None or label in answer.query.labels]
        if any(not answer.query.targets for answer in chosen):
            raise InvalidInputError("This split has no targets: write --submission and upload it to the test server.")
        measured = [evaluation.protocol.measure(answer.query, stage(answer)) for answer in chosen]
        for name in measured[0] if measured else ():
            rows.setdefault(name, []).append(np.array([each[name] for each in measured], np.float64))
    return rows


def summary(rows: Rows) -> dict[str, Measured]:
    """Every metric's mean over queries, unweighted over parts."""
    return {name: Measured(_percent(mean(parts)), _both(bootstrap_interval(parts))) for name, parts in rows.items()}


def difference(ours: Rows, theirs: Rows) -> dict[str, Measured]:
    """Ours minus theirs, paired by query: both sides from the same split and `limit`."""
    return {
        name: Measured(
            _percent(mean(ours[name]) - mean(theirs[name])), _both(paired_interval(ours[name], theirs[name]))
        )
        for name in ours
    }


def plain(measured: Mapping[str, Measured]) -> dict[str, Any]:
    """As JSON takes it."""
    return {name: each.plain() for name, each in measured.items()}


def errors_removed(after: Rows, before: Rows) -> Measured | None:
    """Share of stage 1's R@1 errors that stage 2 removes, net of those it makes; None without any."""
    if "R@1" not in before or mean(before["R@1"]) == 1.0:
        return None
    gains = [ours - theirs for ours, theirs in zip(after["R@1"], before["R@1"], strict=True)]
    errors = [1.0 - part for part in before["R@1"]]
    return Measured(_percent(mean(gains) / mean(errors)), _both(ratio_interval(gains, errors)))


def _has_targets(evaluation: Evaluation) -> bool:
    """Whether metrics can be computed here."""
    return all(answer.query.targets for part in evaluation.answers for answer in part)


def labels(evaluation: Evaluation) -> list[str]:
    """Names of all slices, sorted."""
    return sorted({label for part in evaluation.answers for answer in part for label in answer.query.labels})


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything: the setting, metrics of each stage and slice, and each query's first answers."""
    content = _setting(evaluation)
    if _has_targets(evaluation):
        rows = metric_rows(evaluation)
        content["metrics"] = plain(summary(rows))
        if evaluation.models.judge is not None:
            before = metric_rows(evaluation, coarse)
            content["stage1_metrics"] = plain(summary(before))
            content["stage2_gain"] = plain(difference(rows, before))
            removed = errors_removed(rows, before)
            content["stage2_errors_removed"] = removed and removed.plain()
        if len(evaluation.datasets) > 1:
            content["parts"] = _parts(evaluation, rows)
        content["slices"] = {label: _slice(evaluation, label) for label in labels(evaluation)}
    content["explanations"] = explanations(evaluation)
    content["answers"] = [_answer(answer) for part in evaluation.answers for answer in part]
    return content


def _setting(evaluation: Evaluation) -> dict[str, Any]:
    models, options = evaluation.models, evaluation.options
    return {
        "dataset": evaluation.datasets[0].name,
        "split": evaluation.datasets[0].split,
        "protocol": {
            "name": evaluation.protocol.name,
            "description": evaluation.protocol.description,
            "reference_removed": evaluation.drops_reference,
        },
        "strategy": options.strategy,
        "attributes": options.attributes.value,
        "negatives": options.negatives,
        "encoder": asdict(models.encoder.identity),
        "compute": evaluation.compute,
        "judge": None if models.judge is None else _judge(evaluation),
        "gallery": [len(dataset.images) for dataset in evaluation.datasets],
        "queries": [len(part) for part in evaluation.answers],
        "queries_of_the_split": [len(dataset.queries) for dataset in evaluation.datasets],
        "limit": options.limit,
        "notes": [note for dataset in evaluation.datasets for note in dataset.notes],
    }


def _judge(evaluation: Evaluation) -> dict[str, Any] | None:
    judge = evaluation.models.judge
    if judge is None:
        return None
    return {**asdict(judge.identity), "weight": judge.weight, "depth": evaluation.options.depth}


def _parts(evaluation: Evaluation, rows: Rows) -> dict[str, dict[str, Any]]:
    return {
        dataset.part: plain(summary({name: [parts[number]] for name, parts in rows.items()}))
        for number, dataset in enumerate(evaluation.datasets)
    }


def _slice(evaluation: Evaluation, label: str) -> dict[str, Any]:
    rows = metric_rows(evaluation, label=label)
    return {"queries": sum(map(len, next(iter(rows.values())))), "metrics": plain(summary(rows))}


def explanations(evaluation: Evaluation) -> dict[str, float]:
    """Shares of `explanation_shares` in percent; none where the data set does not tell scenes."""
    if not evaluation.datasets[0].scenes:
        return {}
    shares = explanation_shares(evaluation.datasets[0], evaluation.answers[0])
    return {name: _percent(share) for name, share in shares.items()}


def _answer(answer: Answer) -> dict[str, Any]:
    """Ranks from 1 of the main target among the first 50, null beyond them or where nobody here knows the target."""
    described = {} if answer.description is None else {"description": answer.description}
    return {
        **described,
        "query": answer.query.id,
        "coarse_rank": _rank(answer.query.targets, answer.coarse.ranking),
        "rank": _rank(answer.query.targets, answer.ranked.ranking),
        "first": answer.ranked.ranking[:1],
    }


def _rank(targets: Sequence[str], ranking: Sequence[str]) -> int | None:
    return ranking.index(targets[0]) + 1 if targets and targets[0] in ranking else None


def _percent(share: float) -> float:
    return round(100 * share, 4)  # finer than any table, so that what is rounded again does not cross a border


def _both(interval: tuple[float, float]) -> tuple[float, float]:
    return _percent(interval[0]), _percent(interval[1])
