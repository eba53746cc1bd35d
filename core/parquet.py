"""Images and their vectors as Parquet."""

import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import BinaryIO, Self
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from core.models import Image, Vector

COMPRESSION = "zstd"
ABOUT = b"setr"
"""Key of the file's own metadata: JSON with gallery, generation and the encoder's identity."""

_FIELDS = (
    ("image_id", pa.string()),
    ("external_id", pa.string()),
    ("sha256", pa.string()),
    ("media_type", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("size_bytes", pa.int64()),
    ("attributes", pa.string()),
    ("created_at", pa.timestamp("us", tz="UTC")),
    ("updated_at", pa.timestamp("us", tz="UTC")),
    ("vector", pa.list_(pa.float32())),
)


class ImageTable:
    """A Parquet file of images; every `write` is one row group, so memory holds one group at a time."""

    def __init__(self, target: BinaryIO, *, about: str) -> None:
        schema = pa.schema(_FIELDS, metadata={ABOUT: about.encode()})
        self._schema = schema
        self._writer = pq.ParquetWriter(target, schema, compression=COMPRESSION)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()

    def write(self, images: Sequence[Image], vectors: Mapping[UUID, Vector]) -> int:
        """Append images; `vector` is float32, null where there is none. Returns how many."""
        columns = {
            "image_id": [str(image.id) for image in images],
            "external_id": [image.external_id for image in images],
            "sha256": [image.blob.sha256 for image in images],
            "media_type": [image.blob.media_type for image in images],
            "width": [image.blob.width for image in images],
            "height": [image.blob.height for image in images],
            "size_bytes": [image.blob.size_bytes for image in images],
            "attributes": [json.dumps(image.attributes, ensure_ascii=False) for image in images],
            "created_at": [image.created_at for image in images],
            "updated_at": [image.updated_at for image in images],
            "vector": [vectors.get(image.id) for image in images],
        }
        self._writer.write_table(pa.table(columns, schema=self._schema))
        return len(images)
