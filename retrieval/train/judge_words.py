"""The words that the demo judge knows: those of captions, of training paraphrases and of its own slots."""

import re

from retrieval import caption
from retrieval.datasets.products import SCENES, Product, Split, attribute_values
from retrieval.datasets.synthcir_texts import SCENE_PARAPHRASES
from retrieval.datasets.texts import PARAPHRASES
from retrieval.datasets.wording import ANY_PRODUCT, ASPECTS, NOUNS, SCENE_WORDS, WORDINGS
from retrieval.prompt import ANSWERS, INSTRUCTION
from retrieval.strategies.reading import SCENE_NOUNS

SLOTS = ("category", "color", "pattern", "detail", "size", "finish", "scene")
"""What the judge takes note of, one token each; `detail` is the category's own attribute."""

WANT = tuple(f"<want {slot}>" for slot in SLOTS)
"""Tokens after the relative text, at which the judge notes what is wanted."""
SEE = tuple(f"<see {slot}>" for slot in SLOTS)
"""Tokens after the last picture, at which it notes what that picture shows."""
SAME = tuple(f"<same {slot}>" for slot in SLOTS)
"""Tokens after those, at which it notes whether the two agree."""

YES_SAME, NOT_SAME, ANY_SCENE = "[same]", "[different]", "[any scene]"
CONTROL = ("<pad>", "<unk>", "<s>", "</s>", "<image>", "<answer>", *WANT, *SEE, *SAME)
"""Special tokens, in id order; `<answer>` ends the prompt."""

SCENE = "scene"
"""What the training texts call that which is behind the product."""

DESCRIBE = caption.INSTRUCTION
"""What the captioner asks."""
PHRASES = (*ANSWERS, INSTRUCTION, DESCRIBE)
"""Texts that are a single token each."""


def note(value: str) -> str:
    """The token by which a slot says that it holds `value`; not a word, so it never comes from a text."""
    return f"[{value}]"


def notes_of(product: Product, scene: str) -> list[str]:
    """What the slots hold for a photo, in the order of `SLOTS`."""
    values = (product.category, product.color, product.pattern, product.detail, product.size, product.finish, scene)
    return [note(value) for value in values]


def vocabulary() -> list[str]:
    """Notes and all words, sorted; lower-case, hyphens and apostrophes kept."""
    texts = ["is it a an the of photo product and", *ANY_PRODUCT, *SCENES, *known_words()]
    values = [value for values in attribute_values().values() for value in values]
    texts += [*values, *attribute_values(), *_templates()]
    words = {word for text in texts for word in split_words(text)}
    return [*sorted(note(value) for value in {*values, *SCENES}), YES_SAME, NOT_SAME, ANY_SCENE, *sorted(words)]


def known_words() -> list[str]:
    """Phrases that say a value, a scene or an attribute: what a text is about."""
    texts = [word for words in SCENE_WORDS.values() for word in words]
    texts += [word for words in NOUNS.values() for word in words]
    texts += [word for words in ASPECTS.values() for word in words]
    return texts + [word for wording in WORDINGS.values() for word in (*wording.before, *wording.after)]


def split_words(text: str) -> list[str]:
    """A text as the tokenizer splits it."""
    return re.findall(r"[a-z'\-]+|[^\sa-z]", text.lower())


def scene_synonyms() -> list[str]:
    """Other nouns for the scene, as far as they are not words that the judge knows for something else; sorted."""
    return sorted(SCENE_NOUNS.difference(vocabulary()))


def filler_words() -> frozenset[str]:
    """Words of the training paraphrases that say no value: shoppers will use others, so training blanks some."""
    told = {word for text in known_words() for word in split_words(text)}
    return frozenset(word for text in _templates() for word in split_words(text)) - told


def _templates() -> list[str]:
    train = PARAPHRASES[Split.TRAIN]
    texts = [*train.change, *train.negation, *train.keep]
    texts += [text for templates in SCENE_PARAPHRASES[Split.TRAIN].values() for text in templates]
    return [re.sub(r"\{\w+\}", "", text) for text in texts]
