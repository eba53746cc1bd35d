"""Model specs: the strings by which operators name encoders and judges in the settings."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import ModelLoadError

_FOLDER = re.compile(r"local-dir:(?P<folder>.+)")
_OPEN_CLIP = re.compile(r"open_clip:(?P<arch>[^/@]+)(?:/(?P<tag>[^/@]+)|@(?P<checkpoint>.+))")
_HUGGING_FACE = re.compile(r"hf:(?P<base>.+?)(?:\+lora=(?P<lora>.+))?")
_REMOTE = re.compile(r"openai:(?P<url>https?://[^\s#]+)#(?P<model>\S+)")
_CHECKPOINT_SUFFIXES = frozenset({".pt", ".pth", ".bin", ".safetensors"})


@dataclass(frozen=True, slots=True)
class EncoderSource:
    """What open_clip is to build: a name it knows, and what fills it: a pretrained tag, or a checkpoint file.

    With a `folder` (configuration and weights inside) the name is `local-dir:<folder>` and the others are None.
    """

    name: str
    tag: str | None = None
    checkpoint: Path | None = None
    folder: Path | None = None

    @property
    def pretrained(self) -> str | None:
        """What open_clip calls `pretrained`: a tag, or the path of a file."""
        return self.tag if self.checkpoint is None else str(self.checkpoint)


@dataclass(frozen=True, slots=True)
class JudgeSource:
    """A base model (a folder or a hub id) and the folder or hub id of its LoRA adapter."""

    base: str
    lora: str | None


@dataclass(frozen=True, slots=True)
class RemoteJudgeSource:
    """A server that speaks OpenAI's HTTP API, by the base `url` of its version 1, and the name it gives the model."""

    url: str
    model: str


def parse_encoder_spec(spec: str, *, models_dir: Path) -> EncoderSource:
    """Read one of the four forms that the error below names; ModelLoadError otherwise."""
    local = _FOLDER.fullmatch(spec)
    if local or spec == "demo":
        folder = Path(local["folder"]) if local else models_dir / "demo-encoder"
        return EncoderSource(f"local-dir:{folder}", folder=folder)
    match = _OPEN_CLIP.fullmatch(spec)
    if match is None:
        raise ModelLoadError(
            f"The encoder spec {spec!r} is not one of demo, open_clip:<architecture>/<pretrained tag>, "
            "open_clip:<architecture>@<checkpoint file>, local-dir:<model folder>."
        )
    if match["checkpoint"] is None:
        return EncoderSource(match["arch"], tag=match["tag"])
    checkpoint = Path(match["checkpoint"])
    if checkpoint.suffix not in _CHECKPOINT_SUFFIXES:
        raise ModelLoadError(f"{checkpoint} is no checkpoint: use one of {', '.join(sorted(_CHECKPOINT_SUFFIXES))}.")
    return EncoderSource(match["arch"], checkpoint=checkpoint)


def parse_judge_spec(spec: str, *, models_dir: Path) -> JudgeSource:
    """Read `demo` or `hf:<id or folder>[+lora=<id or folder>]`; ModelLoadError otherwise."""
    if spec == "demo":
        folder = models_dir / "demo-reranker"
        return JudgeSource(str(folder / "base"), str(folder / "lora"))
    match = _HUGGING_FACE.fullmatch(spec)
    if match is None:
        raise ModelLoadError(
            f"The re-ranker spec {spec!r} is not one of demo, hf:<model id or folder>, "
            "hf:<model id or folder>+lora=<adapter folder>, openai:<base URL>#<model> (where a judge serves only)."
        )
    return JudgeSource(match["base"], match["lora"])


def parse_remote_judge_spec(spec: str) -> RemoteJudgeSource | None:
    """Read `openai:<base URL>#<model>`; None when the spec names a judge of this machine.

    ModelLoadError when it begins like that and goes on otherwise, or has credentials in it: specs stand in results.
    """
    if not spec.startswith("openai:"):
        return None
    match = _REMOTE.fullmatch(spec)
    if match is None:
        raise ModelLoadError(
            "The spec of a remote judge is openai:<base URL>#<model>, such as "
            "openai:http://judge:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct."
        )
    if "@" in urlsplit(match["url"]).netloc:
        raise ModelLoadError("Take the credentials out of the re-ranker spec, and set SETR_RERANKER_API_KEY instead.")
    return RemoteJudgeSource(match["url"].rstrip("/"), match["model"])
