"""Pictures to vectors: fetch, decode, encode. What all units of an embed worker share."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image as Picture

from core.context import Context
from core.errors import ItemError, NotFoundError
from core.keys import blob_key
from core.models import Vectors
from core.pictures import decode
from core.ports import Encoder
from core.settings import Settings

LEAST_READERS = 4
MOST_READERS = 16


def decode_side_px(encoder: Encoder) -> int:
    """Longer side at which pictures are decoded for an encoder: the same for galleries and for references."""
    return 2 * encoder.image_size_px


@dataclass(frozen=True, slots=True)
class Embedded:
    """`vectors` float32 [n, d] of n pictures, of each encoder; rows that could not be had are NaN.

    `errors` says of which pictures not even pixels could be had, by place.
    """

    vectors: Sequence[Vectors]
    errors: Mapping[int, ItemError]


def usable(vectors: Vectors) -> NDArray[np.bool_]:
    """Which rows [n] of vectors [n, d] are finite."""
    return np.asarray(np.isfinite(vectors).all(axis=1), dtype=np.bool_)


class Embedder:
    """Threads that read pictures, and the one that encodes them. While one unit is encoded, others are read.

    One for all units in hand: a model gains nothing from being run twice at a time, and OpenMP keeps a team of threads
    for each thread that ever called it.
    """

    def __init__(self, ctx: Context) -> None:
        self._objects = ctx.objects
        self._readers = ThreadPoolExecutor(_reader_count(ctx.settings), thread_name_prefix="read")
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="encode")

    def embed(self, tenant_id: UUID, sha256s: Sequence[str], encoders: Sequence[Encoder]) -> Embedded:
        """The tenant's stored pictures by each of the encoders; each picture is fetched once."""
        keys = [blob_key(tenant_id, sha256) for sha256 in sha256s]
        read = list(self._readers.map(lambda key: self._read(key, encoders), keys))
        errors = {place: found for place, found in enumerate(read) if isinstance(found, ItemError)}
        rows = [place for place in range(len(read)) if place not in errors]
        fitted = [found for found in read if not isinstance(found, ItemError)]
        vectors = []
        for number, encoder in enumerate(encoders):
            pictures = [each[number] for each in fitted]
            found = np.full((len(read), encoder.identity.dim), np.nan, np.float32)
            found[rows] = self._encoding.submit(encoder.encode_images, pictures).result()
            vectors.append(found)
        return Embedded(vectors, errors)

    def _read(self, key: str, encoders: Sequence[Encoder]) -> list[Picture] | ItemError:
        try:
            data = self._objects.get(key)
            # Fitted here, where it is done on many threads, and what waits is small.
            return [encoder.fit(decode(data, max_side_px=decode_side_px(encoder))) for encoder in encoders]
        except ItemError as error:
            return error
        except NotFoundError:
            return ItemError("blob_missing", "The stored picture is gone; import it again.")


def _reader_count(settings: Settings) -> int:
    return settings.decode_threads or min(MOST_READERS, max(LEAST_READERS, os.cpu_count() or 1))
