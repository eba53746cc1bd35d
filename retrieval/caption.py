"""Describing what a composed query is after, by a multimodal language model that sees the reference."""

import torch
from PIL.Image import Image as Picture

from core.errors import ModelLoadError
from core.settings import Settings
from retrieval.multimodal import MultimodalModel, load_multimodal
from retrieval.prompt import Message, within_ratio
from retrieval.specs import JudgeSource, parse_judge_spec

MAX_NEW_TOKENS = 64
"""Encoders read one short sentence; more would be cut, and takes time."""
INSTRUCTION = (
    "Describe in one short sentence the product that is wanted: the one in the picture, with the requested change. "
    "Keep only what the request is about or leaves as it is; leave out background, people, light and camera."
)


def caption_messages(relative_text: str) -> list[Message]:
    """One description as chat messages: the reference picture, the relative text, and what to do with them."""
    content: list[Message] = [
        {"type": "image"},
        {"type": "text", "text": relative_text.strip()},
        {"type": "text", "text": INSTRUCTION},
    ]
    return [{"role": "user", "content": content}]


class HuggingFaceCaptioner:
    """`core.ports.Captioner` on any transformers image-text-to-text model. Build it with `build_captioner`.

    One description that keeps what the modification is about, as in the Selective CoT of SDR-CIR, in one step as in
    OSrCIR (arXiv 2412.11077). Not thread-safe: one captioner serves one thread.
    """

    def __init__(self, model: MultimodalModel) -> None:
        self._model = model

    def caption(self, reference: Picture, text: str) -> str:
        """The target in one sentence, decoded greedily, of at most `MAX_NEW_TOKENS` tokens; may be empty."""
        model = self._model
        prompt = model.prompt(caption_messages(model.without_control_tokens(text)))
        inputs = model.processor(
            text=[prompt],
            images=[[within_ratio(reference)]],
            add_special_tokens=model.lacks_start(prompt),
            return_tensors="pt",
        ).to(model.placement.device, model.placement.dtype)
        with torch.inference_mode():
            written = model.network.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        fresh = written[0, inputs["input_ids"].shape[1] :]
        return " ".join(model.processor.tokenizer.decode(fresh, skip_special_tokens=True).split())


def build_captioner(settings: Settings) -> HuggingFaceCaptioner:
    """Load the captioner of `settings.captioner`: a spec as a judge's, `demo` being the demo judge's base alone.

    ModelLoadError when the setting is empty, or as for judges.
    """
    if not settings.captioner:
        raise ModelLoadError("There is no captioner: set SETR_CAPTIONER to the spec of a model.")
    source = parse_judge_spec(settings.captioner, models_dir=settings.models_dir)
    if settings.captioner == "demo":
        # Its adapter was trained to say Yes or No; the base is the one that describes pictures.
        source = JudgeSource(source.base, lora=None)
    return HuggingFaceCaptioner(load_multimodal(source, settings, role="captioner"))
