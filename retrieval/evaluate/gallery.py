"""A benchmark's gallery, ready to be searched: what does not depend on how a query is composed is computed once."""

from collections.abc import Sequence

from PIL.Image import Image as Picture

from core.models import Vector, Vectors
from core.pictures import decode
from core.ports import Composer, Encoder, Phrases
from core.recent import Recent
from core.reranking import PICTURE_SIDE_PX
from core.settings import MEBIBYTE
from core.space import Space
from retrieval.compose import phrases
from retrieval.datasets.composed import CirDataset, CirQuery
from retrieval.evaluate.space import AttributeUse, build_space, unknown_words, use_attributes
from retrieval.strategies.linear import unit

_PICTURES_BYTES = 256 * MEBIBYTE
"""Room for decoded pictures, which wait for the next query that has them on its list."""


class Gallery:
    """Pictures of a data set in its order: `names`, their `places` by name, and `vectors` float32 [n, d]."""

    def __init__(self, dataset: CirDataset, vectors: Vectors, *, encoder: Encoder, composer: Composer) -> None:
        self.names = tuple(dataset.images)
        self.places = {name: place for place, name in enumerate(self.names)}
        self.vectors = vectors
        self._dataset = dataset
        self._encoder = encoder
        self._composer = composer
        self._spaces: dict[AttributeUse, Space] = {}
        self._texts: dict[tuple[str, ...], Vector | None] = {}
        self._phrases: dict[str, Phrases] = {}
        self._pictures: Recent[str, Picture] = Recent(_PICTURES_BYTES, _size_bytes)

    def space(self, use: AttributeUse) -> Space:
        """Mean and concepts, as composition knows them with these attributes."""
        if use not in self._spaces:
            attributes = use_attributes(self._dataset.attributes, use)
            self._spaces[use] = build_space(
                self.vectors,
                attributes,
                encoder=self._encoder,
                composer=self._composer,
                unknown=unknown_words(self._dataset.attributes, use),
            )
        return self._spaces[use]

    def texts(self, queries: Sequence[CirQuery]) -> list[Vector | None]:
        """Unit vector of each query's text, of several wordings the direction of their mean; None for no text."""
        new = list(dict.fromkeys(query.texts for query in queries if query.texts not in self._texts))
        vectors = self._encoder.encode_texts([text for texts in new for text in texts])
        start = 0
        for texts in new:
            stop = start + len(texts)
            self._texts[texts] = unit(vectors[start:stop].mean(axis=0)) if texts else None
            start = stop
        return [self._texts[query.texts] for query in queries]

    def phrases(self, query: CirQuery) -> Phrases | None:
        """What a query's text says, phrase by phrase; of several wordings the first, as the others ask for the same."""
        if not query.texts:
            return None
        text = query.texts[0]
        if text not in self._phrases:
            self._phrases[text] = phrases(self._composer.read(text), self._encoder)
        return self._phrases[text]

    def picture(self, name: str) -> Picture:
        """A picture, decoded as the service does for its judge."""
        found = self._pictures.get(name)
        if found is None:
            found = decode(self._dataset.images[name].read_bytes(), max_side_px=PICTURE_SIDE_PX)
            self._pictures.put(name, found)
        return found


def _size_bytes(picture: Picture) -> int:
    return picture.width * picture.height * len(picture.getbands())
