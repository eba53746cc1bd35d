"""The words that the demo judge knows: those of captions, of training paraphrases and of its own questions."""

import re

from retrieval.datasets.products import SCENES, Split, attribute_values
from retrieval.datasets.texts import PARAPHRASES
from retrieval.datasets.wording import ANY_PRODUCT, ASPECTS, NOUNS, SCENE_WORDS, WORDINGS

SAME, DIFFERENT = "same", "different"
DESCRIBE, COMPARE = "describe", "compare"
"""The two questions besides the judgement: what is to be seen, and in what two pictures differ."""


def vocabulary() -> list[str]:
    """All words, sorted; lower-case, hyphens and apostrophes kept."""
    texts = [SAME, DIFFERENT, DESCRIBE, COMPARE, "scene is it a an the of photo product and", *ANY_PRODUCT, *SCENES]
    texts += [word for words in SCENE_WORDS.values() for word in words]
    texts += [word for words in NOUNS.values() for word in words]
    texts += [word for words in ASPECTS.values() for word in words]
    texts += [word for wording in WORDINGS.values() for word in (*wording.before, *wording.after)]
    texts += [value for values in attribute_values().values() for value in values]
    texts += list(attribute_values())
    train = PARAPHRASES[Split.TRAIN]
    texts += [re.sub(r"\{\w+\}", "", text) for text in (*train.change, *train.negation, *train.keep)]
    return sorted({word for text in texts for word in re.findall(r"[a-z'\-]+|[^\sa-z]", text.lower())})
