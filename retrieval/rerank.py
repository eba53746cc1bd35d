"""Stage 2: a multimodal language model that answers Yes or No, candidate by candidate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL.Image import Image as Picture

from core.errors import ModelLoadError
from core.ports import JudgeIdentity
from core.settings import MEBIBYTE, Settings
from retrieval.calibration import Calibration, read_calibration
from retrieval.multimodal import MultimodalModel, load_multimodal
from retrieval.prefix import PREFIX_FAMILIES, Reader, read_after_prefix, read_plainly
from retrieval.prompt import ANSWERS, PROMPT_VERSION, judge_messages, within_ratio
from retrieval.sight import Sight
from retrieval.specs import JudgeSource, parse_judge_spec


@dataclass(frozen=True, slots=True)
class Scoring:
    """How a judge works through a query's candidates: `batch` at a time, and whether their prompts share a prefix.

    Where they do, what it saw of pictures is remembered in `memory_bytes`.
    """

    batch: int
    shared_prefix: bool
    memory_bytes: int


class HuggingFaceJudge:
    """`core.ports.Judge` on any transformers image-text-to-text model. Build it with `build_judge`.

    Not thread-safe: one judge serves one thread.
    """

    def __init__(self, model: MultimodalModel, *, spec: str, calibration: Calibration, scoring: Scoring) -> None:
        self.identity = JudgeIdentity(spec, model.weights_sha256, PROMPT_VERSION)
        self.weight = calibration.weight
        self._model = model
        self._calibration = calibration
        self._batch = scoring.batch
        self._open: Callable[[MultimodalModel, str, Picture], Reader] = read_plainly
        if scoring.shared_prefix:
            self._open = partial(read_after_prefix, sight=Sight(model, room_bytes=scoring.memory_bytes))
        self._direction = answer_direction(model, spec)

    def score(self, reference: Picture, text: str, candidates: Sequence[Picture]) -> list[float]:
        """P(Yes) in 0..1 per candidate, in order: sigma((z_yes - z_no) / temperature + bias), in float32.

        The two-way softmax over the answers' logits (as in Qwen3-VL-Reranker, arXiv 2601.04720), not their share of the
        whole vocabulary. A candidate's score does not depend on the batch that it is scored in.
        """
        if not candidates:
            return []
        prompt = self._model.prompt(judge_messages(self._model.without_control_tokens(text)))
        read = self._open(self._model, prompt, within_ratio(reference))
        scores: list[float] = []
        for start in range(0, len(candidates), self._batch):
            states = read([within_ratio(candidate) for candidate in candidates[start : start + self._batch]])
            margins = states.float() @ self._direction  # [n, vocabulary] logits would be read at two places only
            scores += torch.sigmoid(margins / self._calibration.temperature + self._calibration.bias).tolist()
        return scores


def build_judge(settings: Settings, *, share_prefix: bool = True) -> HuggingFaceJudge:
    """Load the judge of `settings.reranker` (`demo`, or `hf:<id or folder>[+lora=<id or folder>]`).

    Candidates share their prompts' prefix where the model's family can (`PREFIX_FAMILIES`); other families, and all
    with `share_prefix=False`, run each prompt whole.
    ModelLoadError names what is wrong: absent files, missing or misshapen tensors of base or adapter, an answer that is
    more than one token, a chat template that does not show both pictures, a wrong calibration.
    """
    source = parse_judge_spec(settings.reranker, models_dir=settings.models_dir)
    model = load_multimodal(source, settings, role="judge")
    check_template(model, settings.reranker)
    shared = share_prefix and model.family in PREFIX_FAMILIES
    return HuggingFaceJudge(
        model,
        spec=settings.reranker,
        calibration=_calibration_of(source),
        scoring=Scoring(
            batch=settings.rerank_batch,
            shared_prefix=shared,
            memory_bytes=settings.rerank_memory_mib * MEBIBYTE,
        ),
    )


def _calibration_of(source: JudgeSource) -> Calibration:
    """`calibration.json` in the adapter's folder, in the base's where there is no adapter, else the neutral one."""
    path = Path(source.lora or source.base) / "calibration.json"
    return read_calibration(path) if path.is_file() else Calibration()


def check_template(model: MultimodalModel, spec: str) -> None:
    """ModelLoadError when the model has no chat template, or one that does not show both pictures."""
    try:
        prompt = model.prompt(judge_messages(""))
    except ValueError as error:  # transformers' way to say that there is none
        raise ModelLoadError(
            f"{spec} has no chat template: use a model that was tuned to follow instructions."
        ) from error
    if model.family in PREFIX_FAMILIES and prompt.count(model.processor.image_token) != _PICTURES:
        raise ModelLoadError(f"The chat template of {spec} does not show two pictures: use the template of its makers.")


_PICTURES = 2


def answer_direction(model: MultimodalModel, spec: str) -> torch.Tensor:
    """Row of Yes minus row of No in the output head, float32 [hidden]: its product with a state is z_yes - z_no.

    ModelLoadError when an answer is more than one token, or when an adapter has changed the head.
    """
    head = model.network.get_output_embeddings()
    if type(head) is not torch.nn.Linear:
        raise ModelLoadError(f"The adapter of {spec} changes the output head: train it on the inner layers only.")
    rows = []
    for answer in ANSWERS:
        ids = model.processor.tokenizer.encode(answer, add_special_tokens=False)
        if len(ids) != 1:
            raise ModelLoadError(f"The answer {answer!r} is {len(ids)} tokens for {spec}, not one: use another model.")
        rows.append(head.weight[ids[0]].detach().float())
    return rows[0] - rows[1]
