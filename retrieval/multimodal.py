"""Loading multimodal language models by transformers and peft: one loader for all that look at pictures and read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor

from core.errors import ModelLoadError
from core.settings import Settings
from retrieval.devices import Placement, choose_placement
from retrieval.prompt import Message
from retrieval.specs import JudgeSource
from retrieval.weights import digest_weights

MAX_IMAGE_TOKENS = 512
"""Most tokens that a picture takes where a model would let its size decide; 256 to 640 are usual for pairs of
pictures. Checkpoints of the Qwen-VL families come with bounds of up to 16 384."""


@dataclass(frozen=True, slots=True)
class MultimodalModel:
    """A completely loaded model on its device, with the processor that feeds it."""

    network: Any
    processor: Any
    placement: Placement
    weights_sha256: str

    @property
    def family(self) -> str:
        """What transformers calls the model's type, such as `llava` or `qwen3_vl`."""
        name: str = self.network.config.model_type
        return name

    def prompt(self, messages: Sequence[Message]) -> str:
        """The conversation up to the model's answer, with a placeholder for each picture."""
        prompt: str = self.processor.apply_chat_template(list(messages), add_generation_prompt=True)
        return prompt

    def without_control_tokens(self, text: str) -> str:
        """A shopper's text that cannot smuggle in control tokens or further picture placeholders."""
        for token in (*self.processor.tokenizer.all_special_tokens, self.processor.image_token):
            text = text.replace(token, " ")
        return text

    def lacks_start(self, prompt: str) -> bool:
        """Whether the tokenizer is to add its special tokens: not where the chat template has written them."""
        bos = self.processor.tokenizer.bos_token
        return bos is None or not prompt.startswith(bos)


def load_multimodal(source: JudgeSource, settings: Settings, *, role: str) -> MultimodalModel:
    """Load base, adapter and processor completely; `role` is what errors call the model, such as "judge".

    ModelLoadError names what is wrong: absent files, missing or misshapen tensors of base or adapter.
    """
    network, info = _load_base(source.base, role)
    faults = {kind: sorted(map(str, info[kind])) for kind in ("missing_keys", "mismatched_keys", "error_msgs")}
    if any(faults.values()):
        named = "; ".join(f"{kind.replace('_', ' ')}: {', '.join(names)}" for kind, names in faults.items() if names)
        raise ModelLoadError(f"The {role} {source.base} would be partly random ({named}): get its complete weights.")
    placement = choose_placement(settings, parameters=network.num_parameters())
    adapted = None if source.lora is None else _attach_adapter(network, source.lora)
    digest = digest_weights(network.state_dict())  # PEFT puts its layers into the base, so this counts both
    network.eval().to(placement.device, placement.dtype)
    if adapted is not None and placement.dtype is torch.float32:
        # Adding the adapter to the weights saves its products; coarser types would round a good part of it away.
        network = adapted.merge_and_unload()
    return MultimodalModel(network, load_processor(source.base, role=role), placement, digest)


def load_processor(base: str, *, role: str) -> Any:
    """The processor of a base model, its pictures bounded; ModelLoadError when it cannot be loaded."""
    loader: Any = AutoProcessor
    try:
        processor = loader.from_pretrained(base, trust_remote_code=False)
    except Exception as error:  # files, hubs and torch raise a zoo of types; each means "not loaded"
        raise _not_loaded(f"processor of the {role}", base, error) from error
    _bound_pictures(processor)
    return processor


def _bound_pictures(processor: Any) -> None:
    """Cap the pixels of processors that keep a picture's own size (Qwen-VL): at most `MAX_IMAGE_TOKENS` tokens.

    Their `size` holds areas in pixels, smallest and largest; narrower bounds of a checkpoint stay. Training has to
    bound pictures alike.
    """
    pictures = processor.image_processor
    if not hasattr(pictures, "merge_size"):
        return
    cap = MAX_IMAGE_TOKENS * (pictures.patch_size * pictures.merge_size) ** 2
    size = {name: min(int(pictures.size[name]), cap) for name in ("shortest_edge", "longest_edge")}
    pictures.size = type(pictures.size)(**size)


def _load_base(base: str, role: str) -> tuple[Any, dict[str, Any]]:
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
    except Exception as error:  # as above
        raise _not_loaded(role, base, error) from error
    return network, info


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
