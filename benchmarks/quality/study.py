"""What is measured: tuning on dev, then every strategy on test, with and without the judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.quality.diary import Diary
from benchmarks.quality.numbers import Stage, best_of, best_of_each_family, compare, recall_at_1, row
from benchmarks.quality.verdicts import RememberingJudge
from core.ports import Captioner
from retrieval.evaluate.report import coarse, errors_removed, explanations, final, metric_rows
from retrieval.evaluate.run import EvalOptions, Evaluation, Evaluator
from retrieval.evaluate.space import AttributeUse
from retrieval.strategies import COMPOSED, SINGLE_MODALITY
from retrieval.strategies.ablations import ablation_grid, union_grid

DEFAULT = "intersection"
CAPTION = "caption"
ADAPTER, ADAPTER_ALONE, BASE, BASE_ALONE = "adapter", "adapter alone", "base", "base alone"
"""Who judges in a row; `alone`: with the whole weight of the final order."""

Scores = dict[str, tuple[float, float]]
"""Strategy -> R@1 and mAP@10 on dev."""


@dataclass(frozen=True)
class Bench:
    """What is measured, and on what.

    No `base`: the judge has no adapter to leave out. No `captioner`: the strategy `caption` is left out. `limit` keeps
    that many queries of each split.
    """

    dev: Evaluator
    test: Evaluator
    judge: RememberingJudge
    base: RememberingJudge | None = None
    captioner: Captioner | None = None
    limit: int | None = None
    unions: Sequence[str] = field(default_factory=lambda: tuple(union_grid()))
    ablations: Sequence[str] = field(default_factory=lambda: tuple(ablation_grid()))


def study(bench: Bench, diary: Diary, save: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """All numbers, in percent; `save` gets what there is of them after each part."""
    return _Study(bench, diary, save).run()


class _Study:
    def __init__(self, bench: Bench, diary: Diary, save: Callable[[dict[str, Any]], None]) -> None:
        self._bench = bench
        self._diary = diary
        self._save = save
        self._content: dict[str, Any] = {"dev": {}, "rows": [], "comparisons": {}, "explanations": {}}

    def run(self) -> dict[str, Any]:
        unions = self._tune()
        answered = {name: self._answer(name, AttributeUse.OWN) for name in self._strategies(unions[AttributeUse.OWN])}
        self._compare(AttributeUse.OWN, answered[DEFAULT], answered[unions[AttributeUse.OWN]])
        self._judge(answered[DEFAULT])
        for use in (AttributeUse.DEGRADED, AttributeUse.NONE):
            self._compare(use, self._answer(DEFAULT, use), self._answer(unions[use], use))
        for use in (AttributeUse.UNNAMED, AttributeUse.UNKNOWN):  # the union that reads no words is the same
            self._compare(use, self._coarse(DEFAULT, use), self._coarse(unions[AttributeUse.OWN], use))
        return self._content

    def _strategies(self, union: str) -> list[str]:
        """The table of the method, the best union after the plain ones, and other ways to build the intersection."""
        served = [*SINGLE_MODALITY, *COMPOSED]
        if self._bench.captioner is None:
            served.remove(CAPTION)
        return list(dict.fromkeys([*served, union, *self._content["dev"]["best_ablations"]]))

    def _tune(self) -> dict[AttributeUse, str]:
        """The best union on dev by what composition may know of the catalog, and each ablation's best share of text."""
        own = self._on_dev(self._bench.unions, AttributeUse.OWN)
        unions = {AttributeUse.OWN: own}
        centred = [name for name in self._bench.unions if name.startswith("centred")]  # others do not read attributes
        for use in (AttributeUse.DEGRADED, AttributeUse.NONE):
            unions[use] = own | self._on_dev(centred, use)
        best = {use: best_of(scores) for use, scores in unions.items()}
        ablations = self._on_dev(self._bench.ablations, AttributeUse.OWN, what="ablations")
        intersections = ablations | self._on_dev([DEFAULT], AttributeUse.OWN, what=DEFAULT)
        self._content["dev"] = {
            "unions": {use.value: _recalls(scores) for use, scores in unions.items()},
            "best_union": {use.value: name for use, name in best.items()},
            "intersections": _recalls(intersections),
            "best_intersection": best_of(intersections),
            "best_ablations": best_of_each_family(ablations),
        }
        self._save(self._content)
        return best

    def _on_dev(self, names: Sequence[str], use: AttributeUse, *, what: str = "unions") -> Scores:
        scores = {}
        with (
            self._diary.part(f"dev, {what}, attributes {use.value}") as progress,
            progress("tuning", len(names)) as update,
        ):
            for done, name in enumerate(names, start=1):
                options = EvalOptions(strategy=name, attributes=use, limit=self._bench.limit)
                scores[name] = recall_at_1(self._bench.dev.run(options), final)
                update(done)
        return scores

    def _answer(self, strategy: str, use: AttributeUse) -> Evaluation:
        """Both stages of a strategy on test."""
        name = strategy if use is AttributeUse.OWN else f"{strategy}, attributes {use.value}"
        evaluation = self._run(name, strategy, use, self._bench.judge)
        self._add(evaluation, coarse, judge=None)
        self._add(evaluation, final, judge=ADAPTER)
        return evaluation

    def _coarse(self, strategy: str, use: AttributeUse) -> Evaluation:
        """Stage 1 of a strategy on test."""
        evaluation = self._run(f"{strategy}, attributes {use.value}", strategy, use, None)
        self._add(evaluation, coarse, judge=None)
        return evaluation

    def _judge(self, answered: Evaluation) -> None:
        """What the second stage adds to the default strategy, and what of it is the adapter's."""
        bench = self._bench
        judges = {ADAPTER_ALONE: bench.judge.weighing(1.0)}
        if bench.base is not None:
            judges |= {BASE: bench.base.weighing(bench.judge.weight), BASE_ALONE: bench.base.weighing(1.0)}
        compared = self._content["comparisons"]
        compared["stage2_gain"] = compare((answered, final), (answered, coarse))
        removed = errors_removed(metric_rows(answered, final), metric_rows(answered, coarse))
        self._content["stage2_errors_removed"] = removed and removed.plain()
        for name, judge in judges.items():
            evaluation = self._run(f"{DEFAULT}, {name}", DEFAULT, AttributeUse.OWN, judge)
            self._add(evaluation, final, judge=name)
            if name == BASE:
                compared["adapter_minus_base"] = compare((answered, final), (evaluation, final))

    def _compare(self, use: AttributeUse, intersection: Evaluation, union: Evaluation) -> None:
        compared = self._content["comparisons"].setdefault("intersection_minus_union", {})
        compared[use.value] = compare((intersection, coarse), (union, coarse))
        self._content["explanations"][use.value] = explanations(intersection)
        self._save(self._content)

    def _run(self, name: str, strategy: str, use: AttributeUse, judge: RememberingJudge | None) -> Evaluation:
        options = EvalOptions(strategy=strategy, attributes=use, limit=self._bench.limit)
        with self._diary.part(name) as progress:
            return self._bench.test.run(options, judge=judge, captioner=self._bench.captioner, progress=progress)

    def _add(self, evaluation: Evaluation, stage: Stage, *, judge: str | None) -> None:
        given = evaluation.models.judge
        self._content["rows"].append(
            {
                "strategy": evaluation.options.strategy,
                "attributes": evaluation.options.attributes.value,
                "judge": judge,
                "weight": None if judge is None or given is None else given.weight,
                **row(evaluation, stage),
            }
        )
        self._save(self._content)


def _recalls(scores: Scores) -> dict[str, float]:
    return {name: recall for name, (recall, _) in scores.items()}
