"""The folder that a training leaves: the adapter, its calibration, its metrics and its model card."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ConflictError
from retrieval.calibration import DEFAULT_WEIGHT, Calibration
from retrieval.prompt import PROMPT_VERSION
from retrieval.train.calibration import Judged, fit_sigmoid, fit_weight, recalls
from retrieval.train.judgments import Judgment
from retrieval.train.lora import Learner
from retrieval.train.mining import Miner
from retrieval.train.reranker import Material, RerankerRecipe, Trained, Validation

CALIBRATION_DEPTH = 50
"""Candidates that stage 1 passes on for calibration: as many as `SETR_RERANK_DEPTH` is unless it is set."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibration, what it was fitted on, and R@k of both stages there (None without stage 1)."""

    calibration: Calibration
    fitted_on: str
    recalls: dict[str, dict[str, float]] | None = None


@dataclass(frozen=True, slots=True)
class About:
    """What the record says besides numbers: the base's spec and the sources of triplets, as they were given."""

    base: str
    sources: tuple[str, ...]
    validation: tuple[str, ...] = ()


def calibrate(learner: Learner, material: Material, recipe: RerankerRecipe) -> Fitted:
    """Fit temperature and bias, and with stage 1 the judge's share of the final order, on validation triplets.

    With stage 1, on its shortlists, since these are what the judge will be given; where none of them has a right
    picture, and without stage 1, on the judgements of validation. `fitted_on` says which.
    """
    validation = Validation(material, recipe)
    if material.miner is not None:
        judged = judge_shortlists(learner, material.miner, validation)
        if judged.right.any():
            temperature, bias = fit_sigmoid(judged.margins, judged.right)
            weight = fit_weight(judged, temperature, bias)
            shares = {"stage_1": 0.0, "stage_2": weight, "judge_alone": 1.0}
            found = {name: recalls(judged, temperature, bias, share) for name, share in shares.items()}
            fitted = Calibration(temperature=temperature, bias=bias, weight=weight)
            return Fitted(fitted, f"the {judged.right.shape[1]} best of stage 1 for {len(judged.right)} queries", found)
    temperature, bias = fit_sigmoid(validation.margins(learner), validation.right)
    fitted = Calibration(temperature=temperature, bias=bias, weight=DEFAULT_WEIGHT)
    return Fitted(fitted, f"{validation.right.size} judgements of validation; the weight is not fitted")


def judge_shortlists(learner: Learner, miner: Miner, validation: Validation) -> Judged:
    """The best of stage 1 for each validation triplet, as many for all, with the judge's margins."""
    lists = [miner.shortlist(triplet, CALIBRATION_DEPTH) for triplet in validation.triplets]
    depth = min(len(each.pictures) for each in lists)
    pairs = [
        (triplet, picture)
        for triplet, each in zip(validation.triplets, lists, strict=True)
        for picture in each.pictures[:depth]
    ]
    judgments = [Judgment(t.reference, t.text, picture, picture in t.right) for t, picture in pairs]
    shape = (len(lists), depth)
    return Judged(
        coarse=np.stack([each.scores[:depth] for each in lists]),
        margins=learner.judge(judgments).reshape(shape),
        right=np.array([judgment.right for judgment in judgments]).reshape(shape),
    )


def metrics_of(
    about: About, learner: Learner, material: Material, recipe: RerankerRecipe, result: tuple[Trained, Fitted]
) -> dict[str, Any]:
    """Everything worth keeping of a training, as JSON."""
    trained, fitted = result
    before, after = trained.checks[0], trained.best_check
    sets = {"train": material.train, "validation": material.validation}
    return {
        "base": about.base,
        "base_sha256": learner.base_sha256,
        "prompt_version": PROMPT_VERSION,
        "recipe": asdict(recipe),
        "stage1": material.stage1 or None,
        "triplets": {
            "sources": about.sources,
            "validation_sources": about.validation or "held out of the same",
            **{name: len(data.triplets) for name, data in sets.items()},
            "digests": {name: data.digest() for name, data in sets.items()},
            "notes": material.train.notes,
        },
        "steps": trained.step,
        "best_step": after.step,
        "seconds": round(trained.seconds, 1),
        "compute": learner.compute,
        "validation": {
            "base_alone": {"loss": before.loss, "auc": before.auc},
            "adapted": {"loss": after.loss, "auc": after.auc},
            "checks": [asdict(check) for check in trained.checks],
        },
        "calibration": {**fitted.calibration.model_dump(), "fitted_on": fitted.fitted_on},
        "shortlists": fitted.recalls,
    }


def check_absent(out: Path) -> None:
    """ConflictError when the folder exists already: better known before hours of training than after."""
    if out.exists():
        raise ConflictError(f"{out} exists already: remove it, or name another folder.")


def write_adapter(out: Path, learner: Learner, calibration: Calibration, metrics: dict[str, Any]) -> None:
    """Write the new folder `out`; it appears only when it is whole. ConflictError when it exists already."""
    check_absent(out)
    scratch = out.with_name(f"{out.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    learner.save(scratch)
    (scratch / "calibration.json").write_text(calibration.model_dump_json(indent=2) + "\n")
    (scratch / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    (scratch / "README.md").write_text(_card(out, metrics), encoding="utf-8")  # instead of PEFT's empty template
    scratch.rename(out)


def _card(out: Path, metrics: dict[str, Any]) -> str:
    recipe, lora = metrics["recipe"], metrics["recipe"]["lora"]
    checks, calibration = metrics["validation"], metrics["calibration"]
    rows = [
        ("Base", f"`{metrics['base']}`, weights {metrics['base_sha256']}"),
        ("Adapter", f"LoRA, r = {lora['rank']}, alpha = {lora['alpha']}, dropout {lora['dropout']:g}, on the linear "),
        ("Prompt", f"`retrieval/prompt.py`, version {metrics['prompt_version']}: part of what was learnt"),
        ("Triplets", f"{metrics['triplets']['train']} of {', '.join(metrics['triplets']['sources'])}"),
        ("Validation", f"{metrics['triplets']['validation']} triplets, never trained on"),
        ("Hard negatives", metrics["stage1"] or "look-alikes and refused pictures; others by chance"),
        ("Training", f"{metrics['steps']} steps of {recipe['queries']} x (1 + {recipe['negatives']}) judgements, "),
        ("Calibration", f"fitted on {calibration['fitted_on']}"),
    ]
    notes = {
        "Adapter": "layers of the language model only",
        "Training": f"{metrics['seconds']:.0f} s on {metrics['compute']}; the weights of step {metrics['best_step']}",
    }
    table = "\n".join(f"| {name} | {text}{notes.get(name, '')} |" for name, text in rows)
    measured = "\n".join(
        f"| {label} | {checks[key]['loss']:.4f} | {checks[key]['auc']:.4f} |"
        for label, key in (("base alone", "base_alone"), ("with this adapter", "adapted"))
    )
    return (
        f"# Judge adapter {out.name}\n\nAnswers Yes or No: does a candidate show the reference with the requested "
        f"change? Use it with its own base only:\n\n    SETR_RERANKER='hf:<base>+lora={out.name}'\n\n"
        f"| | |\n|---|---|\n{table}\n\n## Measured on validation\n\n| | loss | AUC |\n|---|---|---|\n{measured}\n\n"
        "AUC: how often a right answer has the larger margin than a wrong one to the same query (chance 0.5). "
        "`metrics.json` has the whole recipe, every check and the calibration.\n"
    )
