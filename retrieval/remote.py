"""Stage 2 by a judge on another machine: a server of OpenAI's HTTP API that gives log-probabilities, such as vLLM."""

import base64
import io
import math
import re
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from PIL.Image import Image as Picture
from pydantic import BaseModel, Field, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from core.errors import ModelLoadError, UnavailableError
from core.ports import JudgeIdentity
from core.settings import Settings
from retrieval.calibration import Calibration, read_calibration
from retrieval.prompt import ANSWERS, PROMPT_VERSION, judge_messages, within_ratio
from retrieval.specs import RemoteJudgeSource

TOP_LOGPROBS = 20
"""The most that OpenAI's API gives."""

_ATTEMPTS = 3
_LONGEST_WAIT_S = 2.0
_JPEG_QUALITY = 92
_TOKENS_ONLY_A_TEMPLATE_WRITES = re.compile(r"<[^<>\s]*>|\[/?[A-Z_]+\]")
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNKNOWN_WEIGHTS = ""


class RemoteJudge:
    """`core.ports.Judge` that asks a server, one candidate a request, several at a time. Nothing is asked at start.

    Its scores are those of `HuggingFaceJudge` for the same model, but for what JPEG does to the pictures: the same
    messages, one token of answer, and the difference of the two answers' log-probabilities, which is that of their
    logits. What all candidates of a query share comes first, and the first of them is asked alone, so that a server
    that caches prefixes (vLLM does) reads the reference once.
    """

    def __init__(self, source: RemoteJudgeSource, settings: Settings) -> None:
        path = settings.reranker_calibration
        self._calibration = _read_named(Path(path)) if path else Calibration()
        self.identity = JudgeIdentity(settings.reranker, _UNKNOWN_WEIGHTS, PROMPT_VERSION)
        self.weight = self._calibration.weight
        self._source = source
        self._threads = settings.rerank_batch
        self._timeout_s = settings.reranker_timeout_s
        key = settings.reranker_api_key.get_secret_value()
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._ssl = httpx.create_ssl_context()

    def score(self, reference: Picture, text: str, candidates: Sequence[Picture]) -> list[float]:
        """P(Yes) in 0..1 per candidate, in order: sigma((logp_yes - logp_no) / temperature + bias).

        UnavailableError when the server does not answer, or says so, three times in a row, or takes longer than
        `reranker_timeout_s` for all; ModelLoadError when it refuses, or answers something else than Yes or No with
        log-probabilities.
        """
        until_s = time.monotonic() + self._timeout_s
        shared = _data_url(reference)
        text = _TOKENS_ONLY_A_TEMPLATE_WRITES.sub(" ", text)

        with httpx.Client(headers=self._headers, verify=self._ssl, trust_env=False) as http:

            def judged(candidate: Picture) -> float:
                margin = self._margin(http, _messages(text, (shared, _data_url(candidate))), until_s)
                return _sigmoid(margin / self._calibration.temperature + self._calibration.bias)

            first = [judged(candidate) for candidate in candidates[:1]]
            pool = ThreadPoolExecutor(self._threads)
            try:
                return first + list(pool.map(judged, candidates[1:]))
            finally:
                pool.shutdown(cancel_futures=True)  # after a failure the rest need not be asked

    def _margin(self, http: httpx.Client, messages: Sequence[dict[str, Any]], until_s: float) -> float:
        asked = {
            "model": self._source.model,
            "messages": messages,
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": TOP_LOGPROBS,
        }
        retrying = Retrying(
            retry=retry_if_exception_type(UnavailableError),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(max=_LONGEST_WAIT_S),
            reraise=True,
        )
        return retrying(self._ask, http, asked, until_s)

    def _ask(self, http: httpx.Client, asked: dict[str, Any], until_s: float) -> float:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise UnavailableError(f"The remote judge took longer than {self._timeout_s:g} s for a query.")
        try:
            response = http.post(f"{self._source.url}/chat/completions", json=asked, timeout=left_s)
        except httpx.RequestError as error:
            raise UnavailableError(f"The remote judge does not answer ({type(error).__name__}).") from error
        if response.status_code in _PASSING:
            raise UnavailableError(f"The remote judge is not ready: it answers {response.status_code}.")
        if not response.is_success:
            raise ModelLoadError(
                f"The remote judge refuses what it is asked ({response.status_code}): the operator corrects "
                "SETR_RERANKER or SETR_RERANKER_API_KEY."
            )
        return _read_margin(response.content)


def _read_named(path: Path) -> Calibration:
    try:
        return read_calibration(path)
    except OSError as error:
        raise ModelLoadError(f"SETR_RERANKER_CALIBRATION names {path}, which cannot be read: {error}.") from error


def _messages(text: str, pictures: Iterable[str]) -> list[dict[str, Any]]:
    """`judge_messages` with its placeholders filled, in the form of OpenAI's API."""
    shown = iter(pictures)
    return [
        {
            **message,
            "content": [
                {"type": "image_url", "image_url": {"url": next(shown)}} if part["type"] == "image" else part
                for part in message["content"]
            ],
        }
        for message in judge_messages(text)
    ]


def _data_url(picture: Picture) -> str:
    data = io.BytesIO()
    within_ratio(picture).save(data, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


class _Likely(BaseModel):
    token: str
    logprob: float


class _Place(BaseModel):
    top_logprobs: list[_Likely] = Field(min_length=1)


class _Logprobs(BaseModel):
    content: list[_Place] = Field(min_length=1)


class _Choice(BaseModel):
    logprobs: _Logprobs


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


def _read_margin(body: bytes) -> float:
    """logp_yes - logp_no; an answer that is not among the likely tokens counts as the least likely of them."""
    try:
        likely = _Completion.model_validate_json(body).choices[0].logprobs.content[0].top_logprobs
    except ValidationError as error:
        raise ModelLoadError(
            "The remote judge gives no log-probabilities of its answer: use a server that has `top_logprobs` in "
            "/chat/completions, such as vLLM."
        ) from error
    found = {each.token: each.logprob for each in likely}
    if not found.keys() & set(ANSWERS):
        said = max(found, key=lambda token: found[token])
        raise ModelLoadError(f"The remote judge answers {said!r} where Yes or No was asked: use another model.")
    floor = min(found.values())
    yes, no = (found.get(answer, floor) for answer in ANSWERS)
    return yes - no


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
