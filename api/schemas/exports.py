"""Bodies of exports and their results."""

from pydantic import Field

from api.schemas.common import Body, CallbackUrl, Reply
from core.exports import NewExport


class ExportIn(Body):
    """An export."""

    vectors: bool = Field(default=True, description="Include the vectors of the active index.")
    callback_url: CallbackUrl | None = None

    def to_use_case(self, gallery: str) -> NewExport:
        """What the use case takes."""
        return NewExport(gallery=gallery, vectors=self.vectors, callback_url=self.callback_url)


class ExportFile(Reply):
    """One Parquet file."""

    key: str
    rows: int
    size_bytes: int
    url: str | None = Field(description="Short-lived, signed when read.")


class ExportResult(Reply):
    """An export's result; files appear as they are written."""

    format: str
    rows: int
    files: list[ExportFile]
