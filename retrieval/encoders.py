"""Encoders: open_clip models behind core's `Encoder` port, loaded completely or not at all."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import structlog
import torch
from open_clip.pretrained import get_pretrained_cfg
from PIL import Image
from PIL.Image import Image as Picture

from core.errors import ModelLoadError
from core.models import EncoderIdentity, Vectors
from core.settings import Settings
from retrieval.devices import Placement, choose_placement
from retrieval.preprocessing import Preprocessor
from retrieval.specs import EncoderSource, parse_encoder_spec
from retrieval.weights import digest_weights, stored_shapes

log = structlog.get_logger()

_POSITIONS = ("visual.positional_embedding", "positional_embedding", "text.positional_embedding")


class OpenClipEncoder:
    """An open_clip model as `core.ports.Encoder`. Build it with `load_encoder`.

    Thread-safe: the model is only read, and tokenising is under a lock, since fast tokenizers refuse to be shared.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, identity: EncoderIdentity, placement: Placement, batch: int
    ) -> None:
        self.identity = identity
        self.max_text_tokens: int = tokenizer.context_length
        model.eval().requires_grad_(requires_grad=False).to(placement.device, placement.dtype)
        self._model = model
        self._preprocess = Preprocessor(model.visual.preprocess_cfg)
        self.image_size_px = self._preprocess.longer_side_px
        self._tokenizer = tokenizer
        self._tokenizer_lock = threading.Lock()
        self._placement = placement
        self._batch = batch

    def fit(self, picture: Picture) -> Picture:
        """The picture at the size that the model sees. It is encoded to the very same vector, and takes less memory."""
        return self._preprocess.fit(picture)

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        """Unit vectors float32 [n, d] of RGB pictures of any size; n may be 0."""
        return self._encode(pictures, self._image_features)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors float32 [n, d]; texts longer than `max_text_tokens` (start and end marks included) are cut."""
        return self._encode(texts, self._text_features)

    def is_cut(self, text: str) -> bool:
        """Whether the text exceeds `max_text_tokens`."""
        # Tokenised with room to spare, a text that fits is padded where the limit ends, as an empty one is.
        tokens = self._tokens(["", text], context_length=self.max_text_tokens + 2)
        return bool(tokens[1, self.max_text_tokens] != tokens[0, self.max_text_tokens])

    def _encode(self, items: Sequence[Any], features: Callable[[Sequence[Any]], torch.Tensor]) -> Vectors:
        vectors = np.empty((len(items), self.identity.dim), np.float32)
        start = 0
        while start < len(items):
            part = items[start : start + self._batch]
            try:
                with torch.inference_mode():
                    unit = torch.nn.functional.normalize(features(part).to(torch.float32), dim=-1)
                vectors[start : start + len(part)] = unit.cpu().numpy()
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                self._batch = len(part) // 2  # from now on: the next batch would not fit either
                log.warning("encoder.batch_halved", batch=self._batch)
            else:
                start += len(part)
        return vectors

    def _image_features(self, pictures: Sequence[Picture]) -> torch.Tensor:
        pixels = self._preprocess(pictures, device=self._placement.device, dtype=self._placement.dtype)
        features: torch.Tensor = self._model.encode_image(pixels)
        return features

    def _text_features(self, texts: Sequence[str]) -> torch.Tensor:
        tokens = self._tokens(texts, context_length=self.max_text_tokens)
        features: torch.Tensor = self._model.encode_text(tokens.to(self._placement.device))
        return features

    def _tokens(self, texts: Sequence[str], *, context_length: int) -> torch.Tensor:
        with self._tokenizer_lock:
            tokens: torch.Tensor = self._tokenizer(list(texts), context_length=context_length)
        return tokens


class EncoderRegistry:
    """`core.ports.EncoderRegistry` over `settings.encoders`: each is loaded at its first use and then shared.

    The `models_per_worker` used last are kept; whoever still holds another may go on using it. One loads at a time, and
    only then one is let go: a spec that cannot be loaded costs nobody a model. Names with one spec share a model.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: OrderedDict[str, OpenClipEncoder] = OrderedDict()
        self._keeping = threading.Lock()
        self._loading = threading.Lock()

    def get(self, name: str) -> OpenClipEncoder:
        """The encoder of that name. ModelLoadError when the operator did not list it, or when it cannot be loaded."""
        spec = self._settings.encoders.get(name)
        if spec is None:
            known = ", ".join(sorted(self._settings.encoders))
            raise ModelLoadError(f"No encoder is called {name!r}. Use one of {known}, or list it in SETR_ENCODERS.")
        found = self._find(spec)
        if found is not None:  # not in line behind those that are being loaded
            return found
        with self._loading:
            return self._find(spec) or self._keep(spec, load_encoder(spec, self._settings))

    def _find(self, spec: str) -> OpenClipEncoder | None:
        with self._keeping:
            if spec in self._kept:
                self._kept.move_to_end(spec)
            return self._kept.get(spec)

    def _keep(self, spec: str, encoder: OpenClipEncoder) -> OpenClipEncoder:
        with self._keeping:
            self._kept[spec] = encoder
            while len(self._kept) > self._settings.models_per_worker:
                gone, _ = self._kept.popitem(last=False)
                log.info("encoder.let_go", spec=gone, kept=list(self._kept))
        return encoder

    def warm_up(self, name: str) -> None:
        """Load an encoder and run both of its towers once, so that the first real call is not the slow one."""
        encoder = self.get(name)
        encoder.encode_images([Image.new("RGB", (64, 64))])
        encoder.encode_texts(["warm-up"])


def load_encoder(spec: str, settings: Settings) -> OpenClipEncoder:
    """Load the encoder of a spec; `retrieval/specs.py` has its forms.

    ModelLoadError names what is wrong: an unknown architecture or tag, an absent file, or each missing, unexpected or
    misshapen tensor. No weight is ever left at its random start.
    """
    source = parse_encoder_spec(spec, models_dir=settings.models_dir)
    _check_files(spec, source)
    _check_architecture(spec, source)
    model = _create(spec, source)
    _check_positions(spec, source, model)
    identity = EncoderIdentity(
        spec=spec,
        architecture=source.folder.name if source.folder else source.name,
        weights_sha256=digest_weights(model.state_dict()),
        dim=open_clip.get_model_config(source.name)["embed_dim"],
        preprocessing=Preprocessor(model.visual.preprocess_cfg).describe(),
    )
    placement = choose_placement(settings, parameters=sum(weight.numel() for weight in model.parameters()))
    tokenizer = open_clip.get_tokenizer(source.name)
    return OpenClipEncoder(model, tokenizer, identity=identity, placement=placement, batch=settings.embed_batch)


def _check_files(spec: str, source: EncoderSource) -> None:
    path = _weights_file(source)
    if path is not None and not path.is_file():
        raise ModelLoadError(f"The encoder {spec} has no weights file {path}: correct the path, or put the file there.")


def _weights_file(source: EncoderSource) -> Path | None:
    return source.folder / "open_clip_model.safetensors" if source.folder else source.checkpoint


def _check_architecture(spec: str, source: EncoderSource) -> None:
    """Refuse what open_clip does not know, and tags trained with another activation: there it only warns."""
    config = open_clip.get_model_config(source.name)
    if config is None:
        close = get_close_matches(source.name, open_clip.list_models(), n=5) or ["see open_clip.list_models()"]
        raise ModelLoadError(f"{spec}: open_clip has no architecture {source.name!r}. Close ones: {', '.join(close)}.")
    if source.tag is None:
        return
    trained = bool(get_pretrained_cfg(source.name, source.tag).get("quick_gelu", False))
    if trained and not config.get("quick_gelu", False):
        raise ModelLoadError(f"{spec} was trained with QuickGELU: use open_clip:{source.name}-quickgelu/{source.tag}.")


def _create(spec: str, source: EncoderSource) -> Any:
    try:
        return open_clip.create_model(
            source.name, source.pretrained, require_pretrained=True, pretrained_text=False, weights_only=True
        )
    except Exception as error:  # files, archives, hubs and torch raise a zoo of types; each means "not loaded"
        reason = " ".join(str(error).split())
        raise ModelLoadError(f"The encoder {spec} cannot be loaded completely: {reason}") from error


def _check_positions(spec: str, source: EncoderSource, model: Any) -> None:
    """Refuse position embeddings of another shape: open_clip stretches them silently, and no model was trained so."""
    path = _weights_file(source)
    if path is None:
        return
    stored = stored_shapes(path)
    for name, tensor in model.state_dict().items():
        if name in _POSITIONS and stored.get(name, tensor.shape) != tuple(tensor.shape):
            raise ModelLoadError(
                f"The encoder {spec} cannot be loaded: {name} has shape {stored[name]} in {path.name} but "
                f"{tuple(tensor.shape)} in the architecture. Use the architecture that the checkpoint was trained with."
            )
