"""How a judge reads the candidates of one query: each with the whole prompt, or all after a prefix that is run once.

docs/adr/0013-shared-prefix-scoring.md says why there are two ways, and which models take which.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from PIL.Image import Image as Picture
from torch.nn.utils.rnn import pad_sequence

from retrieval.multimodal import MultimodalModel
from retrieval.sight import Seen, Sight, as_encoder_outputs

Reader = Callable[[Sequence[Picture]], torch.Tensor]
"""Candidates of one query -> the last state of the prompt that ends with each: [n, hidden], n >= 1, on the device."""

_Inputs = dict[str, Any]


def read_plainly(model: MultimodalModel, prompt: str, reference: Picture) -> Reader:
    """A reader that runs the whole prompt, of two picture placeholders, anew for each candidate: for any model."""

    def read(candidates: Sequence[Picture]) -> torch.Tensor:
        inputs = whole_inputs(model, [prompt] * len(candidates), [(reference, candidate) for candidate in candidates])
        with torch.inference_mode():
            states = model.network.base_model(**inputs, use_cache=False).last_hidden_state
        return last_states(states, inputs["attention_mask"])

    return read


def whole_inputs(model: MultimodalModel, prompts: Sequence[str], pairs: Sequence[tuple[Picture, Picture]]) -> Any:
    """What the model's own forward pass takes for prompts of two picture placeholders each, on its device.

    Padded on the right, so that positions count from the first real token.
    """
    return model.processor(
        text=list(prompts),
        images=[list(pair) for pair in pairs],
        add_special_tokens=model.lacks_start(prompts[0]),
        padding=True,
        padding_side="right",
        return_tensors="pt",
    ).to(model.placement.device, model.placement.dtype)


def read_after_prefix(model: MultimodalModel, prompt: str, reference: Picture, *, sight: Sight) -> Reader:
    """The same reader, but what comes before the second picture is run once, here, and its keys and values are shared.

    For models of the families in `PREFIX_FAMILIES`: those whose tokens attend to earlier ones only, whose pictures are
    independent of each other, and whose positions we know.
    """
    before, between, after = _split(model, prompt)
    [seen] = sight.look([reference])
    prefix = _Prefix(model, torch.cat([before, seen.ids, between]), seen, after)
    with torch.inference_mode():
        cache = prefix.run()

    def read(candidates: Sequence[Picture]) -> torch.Tensor:
        with torch.inference_mode():
            return prefix.continued(cache, sight.look(candidates))

    return read


@dataclass(frozen=True, slots=True)
class _Prefix:
    """Ids [length] up to the candidate's place, the reference, and the ids that follow the candidate."""

    model: MultimodalModel
    ids: torch.Tensor
    reference: Seen
    after: torch.Tensor

    def run(self) -> Any:
        """Keys and values of the prefix, a batch of one."""
        ids = self.ids[None]
        mask = torch.ones_like(ids)
        positions = self._positions(ids, mask, [self.reference])
        return self._forward(ids, mask, [self.reference], positions).past_key_values

    def continued(self, cache: Any, candidates: Sequence[Seen]) -> torch.Tensor:
        """Last states [n, hidden] of the prompts that end with these candidates."""
        count, length = len(candidates), len(self.ids)
        suffixes = [torch.cat([seen.ids, self.after]) for seen in candidates]
        ids = pad_sequence(suffixes, batch_first=True, padding_value=int(self.after[-1]))
        mask = pad_sequence([torch.ones_like(suffix) for suffix in suffixes], batch_first=True)
        whole_mask = torch.cat([mask.new_ones(count, length), mask], dim=1)
        whole_ids = torch.cat([self.ids.expand(count, -1), ids], dim=1)
        pairs = [seen for candidate in candidates for seen in (self.reference, candidate)]
        positions = self._positions(whole_ids, whole_mask, pairs)
        positions = {name: values[..., length:] for name, values in positions.items()}
        shared = copy.deepcopy(cache)  # a forward pass appends to its cache
        shared.batch_repeat_interleave(count)
        output = self._forward(ids, whole_mask, candidates, {**positions, "past_key_values": shared})
        return last_states(output.last_hidden_state, mask)

    def _positions(self, ids: torch.Tensor, mask: torch.Tensor, shown: Sequence[Seen]) -> _Inputs:
        return PREFIX_FAMILIES[self.model.family](self.model, ids, mask, shown)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, shown: Sequence[Seen], others: _Inputs) -> Any:
        return self.model.network.base_model(
            input_ids=ids, attention_mask=mask, mm_encoder_outputs=as_encoder_outputs(shown), use_cache=True, **others
        )


def _split(model: MultimodalModel, prompt: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids before the reference's placeholder, between the two, and after the candidate's; tokenised in one piece."""
    tokenizer = model.processor.tokenizer
    encoded = tokenizer(prompt, add_special_tokens=model.lacks_start(prompt), return_tensors="pt")
    ids = encoded["input_ids"][0].to(model.placement.device)
    first, second = (ids == model.processor.image_token_id).nonzero().flatten().tolist()
    return ids[:first], ids[first + 1 : second], ids[second + 1 :]


def last_states(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The state of the last real token of each right-padded row: with full logits, a batch would take gigabytes."""
    return states[torch.arange(len(states), device=states.device), mask.sum(dim=1) - 1]


def _counted(model: MultimodalModel, ids: torch.Tensor, mask: torch.Tensor, shown: Sequence[Seen]) -> _Inputs:
    """One position after the other, which is what the models count by themselves, the cache included."""
    del model, ids, mask, shown
    return {}


def _spatial(model: MultimodalModel, ids: torch.Tensor, mask: torch.Tensor, shown: Sequence[Seen]) -> _Inputs:
    """Time, height and width (multimodal rotary positions, Qwen2-VL, arXiv 2409.12191): long [3, n, length].

    They depend on all pictures before, so they are those of whole sequences.
    """
    positions, _ = model.network.base_model.get_rope_index(
        input_ids=ids,
        mm_token_type_ids=(ids == model.processor.image_token_id).int(),
        image_grid_thw=torch.cat([seen.grid for seen in shown if seen.grid is not None]),
        attention_mask=mask,
    )
    return {"position_ids": positions}


PREFIX_FAMILIES: Mapping[str, Callable[[MultimodalModel, torch.Tensor, torch.Tensor, Sequence[Seen]], _Inputs]] = (
    MappingProxyType({"llava": _counted, "qwen2_5_vl": _spatial, "qwen3_vl": _spatial})
)
"""Families (`MultimodalModel.family`) that can share a prefix, each with its way to place the tokens of sequences that
show these pictures, row by row; a family is added when a test shows that its scores stay those of the plain forward
pass."""
