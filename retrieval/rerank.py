"""Stage 2: a multimodal language model that answers Yes or No, candidate by candidate."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from PIL.Image import Image as Picture
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from transformers import AutoModelForImageTextToText, AutoProcessor

from core.errors import ModelLoadError
from core.ports import JudgeIdentity
from core.settings import Settings
from retrieval.devices import Placement, choose_placement
from retrieval.prompt import ANSWERS, PROMPT_VERSION, judge_messages
from retrieval.specs import JudgeSource, parse_judge_spec
from retrieval.weights import digest_weights

DEFAULT_WEIGHT = 0.5
"""w of the final order where no calibration was fitted: both stages count the same."""


class Calibration(BaseModel):
    """`calibration.json` beside the adapter, fitted on a dev split: P(Yes) = sigma(margin / temperature + bias)."""

    model_config = ConfigDict(frozen=True)

    temperature: float = Field(1.0, gt=0)
    bias: float = 0.0
    weight: float = Field(DEFAULT_WEIGHT, ge=0, le=1)


@dataclass(frozen=True, slots=True)
class JudgeModel:
    """A completely loaded model on its device, with the processor that feeds it."""

    network: Any
    processor: Any
    placement: Placement
    weights_sha256: str


class HuggingFaceJudge:
    """`core.ports.Judge` on any transformers image-text-to-text model. Build it with `build_judge`.

    Not thread-safe: one judge serves one thread.
    """

    def __init__(self, model: JudgeModel, *, spec: str, calibration: Calibration, batch: int) -> None:
        self.identity = JudgeIdentity(spec, model.weights_sha256, PROMPT_VERSION)
        self.weight = calibration.weight
        self._model = model
        self._calibration = calibration
        self._batch = batch
        self._direction = _answer_direction(model, spec)

    def score(self, reference: Picture, text: str, candidates: Sequence[Picture]) -> list[float]:
        """P(Yes) in 0..1 per candidate, in order: sigma((z_yes - z_no) / temperature + bias), in float32.

        The two-way softmax over the answers' logits (as in Qwen3-VL-Reranker, arXiv 2601.04720), not their share of the
        whole vocabulary. A candidate's score does not depend on the batch that it is scored in.
        """
        prompt = self._prompt(text)
        scores: list[float] = []
        for start in range(0, len(candidates), self._batch):
            margins = self._margins(prompt, reference, candidates[start : start + self._batch])
            scores += torch.sigmoid(margins / self._calibration.temperature + self._calibration.bias).tolist()
        return scores

    def _prompt(self, text: str) -> str:
        """The conversation up to the answer, with a placeholder for each of the two pictures."""
        processor = self._model.processor
        # A shopper's text must not smuggle in control tokens or further picture placeholders.
        for token in (*processor.tokenizer.all_special_tokens, processor.image_token):
            text = text.replace(token, " ")
        prompt: str = processor.apply_chat_template(judge_messages(text), add_generation_prompt=True)
        return prompt

    def _margins(self, prompt: str, reference: Picture, candidates: Sequence[Picture]) -> torch.Tensor:
        """z_yes - z_no, float32 [n] on the CPU, for one batch by a plain forward pass."""
        processor, placement = self._model.processor, self._model.placement
        bos = processor.tokenizer.bos_token
        inputs = processor(
            text=[prompt] * len(candidates),
            images=[[reference, candidate] for candidate in candidates],
            add_special_tokens=bos is None or not prompt.startswith(bos),
            padding=True,
            padding_side="right",  # so that positions count from the first real token
            return_tensors="pt",
        ).to(placement.device, placement.dtype)
        with torch.inference_mode():
            hidden = self._model.network.base_model(**inputs, use_cache=False).last_hidden_state
            # Of the last real token only, and against one direction: [n, length, vocabulary] logits would be gigabytes.
            last = inputs["attention_mask"].sum(dim=1) - 1
            final = hidden[torch.arange(len(candidates), device=hidden.device), last]
            margins: torch.Tensor = final.float() @ self._direction
        return margins.cpu()


def build_judge(settings: Settings) -> HuggingFaceJudge:
    """Load the judge of `settings.reranker` (`demo`, or `hf:<id or folder>[+lora=<id or folder>]`).

    ModelLoadError names what is wrong: absent files, missing or misshapen tensors of base or adapter, an answer that is
    more than one token, a wrong calibration.
    """
    source = parse_judge_spec(settings.reranker, models_dir=settings.models_dir)
    model = _load(source, settings)
    return HuggingFaceJudge(
        model, spec=settings.reranker, calibration=read_calibration(source), batch=settings.rerank_batch
    )


def read_calibration(source: JudgeSource) -> Calibration:
    """`calibration.json` in the adapter's folder, else in the base's; absent: temperature 1, bias 0, `DEFAULT_WEIGHT`.

    ModelLoadError when the file is not a valid calibration.
    """
    path = Path(source.lora or source.base) / "calibration.json"
    if not path.is_file():
        return Calibration()
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ModelLoadError(
            f"{path} is not a calibration (temperature > 0, bias, weight in 0..1): correct or remove it."
        ) from error


def _load(source: JudgeSource, settings: Settings) -> JudgeModel:
    network, info = _load_base(source.base)
    faults = {kind: sorted(map(str, info[kind])) for kind in ("missing_keys", "mismatched_keys", "error_msgs")}
    if any(faults.values()):
        named = "; ".join(f"{kind.replace('_', ' ')}: {', '.join(names)}" for kind, names in faults.items() if names)
        raise ModelLoadError(f"The judge {source.base} would be partly random ({named}): get its complete weights.")
    placement = choose_placement(settings, parameters=network.num_parameters())
    adapted = None if source.lora is None else _attach_adapter(network, source.lora)
    digest = digest_weights(network.state_dict())  # PEFT puts its layers into the base, so this counts both
    network.eval().to(placement.device, placement.dtype)
    if adapted is not None and placement.dtype is torch.float32:
        # Adding the adapter to the weights saves its products; coarser types would round a good part of it away.
        network = adapted.merge_and_unload()
    return JudgeModel(network, _load_processor(source.base), placement, digest)


def _load_base(base: str) -> tuple[Any, dict[str, Any]]:
    loader: Any = AutoModelForImageTextToText  # its annotations forget that the loading info comes as a pair
    try:
        # In the stored type, so that the digest is of the weights as published. Mismatches are not ignored but listed.
        network, info = loader.from_pretrained(
            base,
            dtype="auto",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:  # files, hubs and torch raise a zoo of types; each means "not loaded"
        raise _not_loaded("judge", base, error) from error
    return network, info


def _load_processor(base: str) -> Any:
    loader: Any = AutoProcessor
    try:
        return loader.from_pretrained(base, trust_remote_code=False)
    except Exception as error:  # as above
        raise _not_loaded("processor of the judge", base, error) from error


def _attach_adapter(network: Any, lora: str) -> PeftModel:
    try:
        adapted = PeftModel(network, PeftConfig.from_pretrained(lora, inference_mode=True))
        result = adapted.load_adapter(lora, "default")
    except Exception as error:  # as above
        raise _not_loaded("adapter", lora, error) from error
    if result.missing_keys or result.unexpected_keys:
        names = ", ".join(sorted({*result.missing_keys, *result.unexpected_keys}))
        raise ModelLoadError(
            f"The adapter {lora} does not fit its base model ({names}): use the base it was trained on."
        )
    return adapted


def _not_loaded(what: str, name: str, error: Exception) -> ModelLoadError:
    return ModelLoadError(f"The {what} {name} cannot be loaded: {' '.join(str(error).split())}")


def _answer_direction(model: JudgeModel, spec: str) -> torch.Tensor:
    """Row of Yes minus row of No in the output head, float32 [hidden]: its product with a state is z_yes - z_no."""
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
