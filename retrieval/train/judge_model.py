"""The demo judge's body: a LLaVA of transformers' own classes around the demo encoder's vision tower."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from retrieval.train.encoder_demo import PREPROCESSING, EncoderShape
from retrieval.train.judge_words import CONTROL, PHRASES, SAME, SCENE, SEE, WANT, scene_synonyms, vocabulary

CHAT_TEMPLATE = (
    "<s>{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}"
    "{% if loop.previtem is defined and loop.previtem['type'] == 'image' %}" + "".join(WANT) + "{% endif %}"
    "{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}" + "".join([*SEE, *SAME]) + "<answer>{% endif %}"
)
"""Besides what a chat model's template does, this one puts in tokens to think at, attribute by attribute: what is
wanted, after the text that follows the reference; what is seen and whether it agrees, before the answer. Tokens that
give a model room to compute are "pause tokens" (arXiv 2310.02226); here the base was taught a meaning for each."""


@dataclass(frozen=True)
class JudgeShape:
    """Sizes of the language model; the vision tower has the encoder's."""

    hidden: int = 160
    layers: int = 7
    heads: int = 5
    intermediate: int = 384


def image_tokens(encoder: EncoderShape) -> int:
    """Placeholders that one picture takes in the sequence: one for each patch."""
    return (encoder.image_px // encoder.patch_px) ** 2


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Word-level, lower-cased; answers and instructions are single tokens of their own.

    All nouns for the scene that its training texts do not have are read as the one that they have.
    """
    words = {word: index for index, word in enumerate((*CONTROL, *vocabulary()))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))  # noqa: S106 - not a password
    nouns = Regex(rf"(?<!\bin )\b(?:{'|'.join(scene_synonyms())})\b")  # "in place of" is not about a scene
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(nouns, SCENE)])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[a-z'\-]+|[^\sa-z]"), "removed", invert=True)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in PHRASES])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="<pad>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        additional_special_tokens=list(CONTROL[4:]),
    )


def token_ids(tokenizer: PreTrainedTokenizerFast, *tokens: str) -> list[int]:
    """Ids of tokens that the vocabulary has as they are."""
    found = tokenizer.convert_tokens_to_ids(list(tokens))
    return found if isinstance(found, list) else [found]


def build_processor(tokenizer: PreTrainedTokenizerFast, encoder: EncoderShape) -> LlavaProcessor:
    """Pictures and text -> model inputs, with the encoder's own preprocessing."""
    pictures = CLIPImageProcessor(
        size={"shortest_edge": encoder.image_px},
        crop_size={"height": encoder.image_px, "width": encoder.image_px},
        resample=3,
        image_mean=PREPROCESSING["mean"],
        image_std=PREPROCESSING["std"],
    )
    return LlavaProcessor(  # type: ignore[no-untyped-call]
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=encoder.patch_px,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def build_judge(tokenizer: PreTrainedTokenizerFast, encoder: EncoderShape, shape: JudgeShape) -> Any:
    """A LLaVA with random weights; see `adopt_tower` for its eyes."""
    config = LlavaConfig(
        vision_config=_vision_config(encoder),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=512,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            tie_word_embeddings=False,
        ),
        image_token_index=token_ids(tokenizer, "<image>")[0],
        image_seq_length=image_tokens(encoder),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )
    return LlavaForConditionalGeneration(config)


def adopt_tower(judge: Any, encoder_folder: Path) -> None:
    """Give the judge the demo encoder's vision tower; raises `RuntimeError` where the shapes differ."""
    source = load_file(encoder_folder / "open_clip_model.safetensors")
    visual = {name.removeprefix("visual."): t.float() for name, t in source.items() if name.startswith("visual.")}
    judge.model.vision_tower.load_state_dict(_as_transformers(visual), strict=True)
    judge.model.vision_tower.requires_grad_(requires_grad=False)


def _vision_config(encoder: EncoderShape) -> CLIPVisionConfig:
    config = encoder.model_cfg()["vision_cfg"]
    return CLIPVisionConfig(
        hidden_size=config["width"],
        intermediate_size=int(config["width"] * config["mlp_ratio"]),
        num_hidden_layers=config["layers"],
        num_attention_heads=config["width"] // config["head_width"],
        image_size=encoder.image_px,
        patch_size=encoder.patch_px,
        projection_dim=encoder.embed_dim,
        hidden_act="gelu",
    )


def _as_transformers(visual: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's names of a vision tower -> those of `CLIPVisionModel`; the projection has no place there."""
    target = {
        "embeddings.class_embedding": visual["class_embedding"],
        "embeddings.patch_embedding.weight": visual["conv1.weight"],
        "embeddings.position_embedding.weight": visual["positional_embedding"],
    }
    for ours, theirs in (("pre_layrnorm", "ln_pre"), ("post_layernorm", "ln_post")):
        for kind in ("weight", "bias"):
            target[f"{ours}.{kind}"] = visual[f"{theirs}.{kind}"]
    parts = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    parts["self_attn.out_proj"] = "attn.out_proj"
    depth = 1 + max(int(name.split(".")[2]) for name in visual if name.startswith("transformer.resblocks."))
    for layer in range(depth):
        ours, theirs = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for kind in ("weight", "bias"):
            for part, source in parts.items():
                target[f"{ours}.{part}.{kind}"] = visual[f"{theirs}.{source}.{kind}"]
            for name, chunk in zip("qkv", visual[f"{theirs}.attn.in_proj_{kind}"].chunk(3), strict=True):
                target[f"{ours}.self_attn.{name}_proj.{kind}"] = chunk
    return target


def patch_features(judge: Any, pixels: Tensor) -> Tensor:
    """What the projector gets: the tower's last patch tokens, float32 [n, patches, width]."""
    states = judge.model.vision_tower(pixels, output_hidden_states=True).hidden_states
    features: Tensor = states[judge.config.vision_feature_layer][:, 1:]
    return features
