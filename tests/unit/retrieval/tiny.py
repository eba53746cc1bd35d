"""Tiny random models on disk, in the layouts that the real loaders read."""

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

CLIP_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "patch_size": 8, "head_width": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }} : {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}assistant : {% endif %}"
)
WORDS = (
    "<pad>",
    "<unk>",
    "<s>",
    "</s>",
    "<image>",
    "user",
    "assistant",
    ":",
    "Yes",
    "No",
    "red",
    "blue",
    "with",
    "and",
)


def clip_weights() -> dict[str, torch.Tensor]:
    """State dict of a random CLIP of `CLIP_CONFIG`."""
    torch.manual_seed(0)
    return dict(open_clip.CLIP(**CLIP_CONFIG).state_dict())


def write_demo_encoder(models_dir: Path, weights: dict[str, torch.Tensor]) -> Path:
    """Write `models_dir/demo-encoder` with these weights; returns the folder."""
    folder = models_dir / "demo-encoder"
    folder.mkdir(parents=True)
    content = {"model_cfg": CLIP_CONFIG, "preprocess_cfg": {"resize_mode": "squash"}}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder


def write_demo_reranker(models_dir: Path, *, words: tuple[str, ...] = WORDS, spread: float = 1.0) -> Path:
    """Write `models_dir/demo-reranker` (base and LoRA adapter) with random weights; returns the folder.

    `spread` stretches the matrices: larger ones make sharper attention and scores further apart.
    """
    folder = models_dir / "demo-reranker"
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(_llava_config(len(words)))
    with torch.no_grad():
        for matrix in (weight for weight in model.parameters() if weight.ndim > 1):
            matrix.mul_(spread)
    model.save_pretrained(folder / "base")
    _processor(words).save_pretrained(folder / "base")
    adapter = LoraConfig(
        r=2, lora_alpha=4, target_modules=r".*language_model.*(q_proj|v_proj)", init_lora_weights=False
    )
    get_peft_model(model, adapter).save_pretrained(str(folder / "lora"))
    return folder


def _llava_config(vocabulary: int) -> LlavaConfig:
    size: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**size, image_size=16, patch_size=8, projection_dim=16),
        text_config=LlamaConfig(**size, vocab_size=vocabulary, num_key_value_heads=2, pad_token_id=0),
        image_token_index=4,
        vision_feature_layer=-1,
    )


def _processor(words: tuple[str, ...]) -> Any:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )
    size = {"height": 16, "width": 16}
    return LlavaProcessor(  # type: ignore[no-untyped-call]
        image_processor=CLIPImageProcessor(size=size, crop_size=size),
        tokenizer=fast,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
