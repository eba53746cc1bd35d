"""Bodies of imports that bring no files along, and of upload sessions."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from api.schemas.common import NO_NUL, Body, CallbackUrl, Finite, Reply, Url
from core.imports import NewImport
from core.uploads import Announced, NewUpload

MAX_URLS = 100_000
MAX_UPLOAD_IDS = 10_000
MAX_FILENAME = 512
MANIFEST = "Where a .csv or .jsonl manifest is fetched from (http(s) or s3://); its rows name pictures by addresses."

Mode = Literal["upsert", "mirror"]


def _printable_name(name: str) -> str:
    if not name.isprintable():
        raise ValueError("use printable characters only: the name becomes the external_id")
    return name


Filename = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_FILENAME, pattern=NO_NUL), AfterValidator(_printable_name)
]


class SourceIn(Body):
    """Where the pictures come from: exactly one of these."""

    urls: list[Url] | None = Field(
        None,
        min_length=1,
        max_length=MAX_URLS,
        description="http(s) URLs; the path (and query) of each becomes the `external_id`.",
        examples=[["https://cdn.shop.example/p/1.jpg"]],
    )
    s3_prefix: Annotated[str, StringConstraints(min_length=6, max_length=1200, pattern=NO_NUL)] | None = Field(
        None,
        description="Objects of a bucket that the operator opened; what follows the prefix's last slash becomes the"
        " `external_id`.",
        examples=["s3://catalog/summer-26/"],
    )
    manifest: Annotated[Url, Field(description=MANIFEST)] | None = Field(
        None, examples=["https://shop.example/catalog.csv"]
    )
    upload_ids: list[UUID] | None = Field(
        None, min_length=1, max_length=MAX_UPLOAD_IDS, description="Uploads of this gallery that have arrived."
    )

    @model_validator(mode="after")
    def _one(self) -> "SourceIn":
        if sum(value is not None for value in (self.urls, self.manifest, self.s3_prefix, self.upload_ids)) != 1:
            raise ValueError("give exactly one of urls, manifest, s3_prefix and upload_ids")
        if len(set(self.upload_ids or ())) < len(self.upload_ids or ()):
            raise ValueError("upload_ids names an upload twice")
        return self


class ImportIn(Body):
    """An import whose files are elsewhere already."""

    source: SourceIn
    mode: Mode = Field("upsert", description="`mirror` also removes the images that the source does not name.")
    max_delete_share: Finite | None = Field(
        None, ge=0, le=1, description="With `mirror`: the largest share of the gallery that may be removed."
    )
    callback_url: CallbackUrl | None = None

    def to_use_case(self, gallery: str) -> NewImport:
        """What the use case takes."""
        return NewImport(
            gallery=gallery,
            urls=self.source.urls or (),
            manifest=self.source.manifest,
            s3_prefix=self.source.s3_prefix,
            upload_ids=self.source.upload_ids or (),
            mode=self.mode,
            max_delete_share=self.max_delete_share,
            callback_url=self.callback_url,
        )


class FileIn(Body):
    """A file about to be sent."""

    filename: Filename = Field(description="As of a multipart `file`.", examples=["catalog.zip"])
    size_bytes: int = Field(ge=1, examples=[73_400_320])
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="Compared before anything of the file is imported."
    )


class UploadsIn(Body):
    """Files about to be sent straight to the bucket."""

    files: list[FileIn] = Field(min_length=1, max_length=10_000)

    def to_use_case(self) -> list[NewUpload]:
        """What the use case takes."""
        return [NewUpload(file.filename, file.size_bytes, file.sha256) for file in self.files]


class UploadOut(Reply):
    """A file's place in the bucket, and where to send it."""

    id: UUID = Field(description="Goes into `upload_ids` of an import.")
    filename: str
    size_bytes: int
    method: Literal["PUT"] = "PUT"
    url: str = Field(description="Takes the bytes, once or more often, without an API key; short-lived.")
    expires_at: datetime = Field(description="When the file is deleted unless it was imported.")


class UploadsOut(Reply):
    """Announced files, in the order in which they were named."""

    uploads: list[UploadOut]


def upload_out(announced: Announced) -> UploadOut:
    """An announced upload as JSON."""
    upload = announced.upload
    return UploadOut(
        id=upload.id,
        filename=upload.filename,
        size_bytes=upload.size_bytes,
        url=announced.url,
        expires_at=upload.expires_at,
    )
