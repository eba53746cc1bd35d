"""The files of an import: what their pictures, archives and manifests name."""

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import BinaryIO, cast

from core import archives
from core.addresses import is_address, is_url_list_name, listed_items, remote
from core.archives import Archive, Rejected, is_archive_name, is_gzipped_tar
from core.buckets import ImportPrefixes
from core.context import Context
from core.errors import InvalidInputError, ItemError
from core.imports import StoredFile, manifest_name
from core.items import ArchiveEntry, Place, Planned, PlannedDelete, PlannedItem, Remote, failed
from core.keys import unpacked_key, upload_key
from core.lease import Watched
from core.manifests import Operation, Row, RowError, external_id_problem, is_manifest_name, read_manifest
from core.models import Job
from core.ports import NotModified
from core.reading import Remotes
from core.settings import MEBIBYTE
from core.tarfiles import Gunzipped

_WINDOW = 4 * MEBIBYTE
_BUFFER = MEBIBYTE // 4


def unpack(ctx: Context, job: Job, files: Sequence[StoredFile]) -> list[StoredFile]:
    """The files, compressed tars replaced by plain ones that are stored beside them. Doing it again does no harm.

    InvalidInputError when one is damaged, or unpacks to more than it may.
    """
    return [
        _unpacked(ctx, unpacked_key(job.tenant_id, job.id, number), file) if is_gzipped_tar(file.filename) else file
        for number, file in enumerate(files)
    ]


def _unpacked(ctx: Context, key: str, file: StoredFile) -> StoredFile:
    settings = ctx.settings
    with io.BufferedReader(Watched(ctx.objects.open(file.key)), _WINDOW) as packed:
        plain = Gunzipped(packed, max_ratio=settings.max_archive_ratio, max_bytes=settings.max_unpacked_mib * MEBIBYTE)
        size_bytes = ctx.objects.put_stream(key, cast("BinaryIO", plain), media_type="application/x-tar")
    return replace(file, key=key, size_bytes=size_bytes)


def fetch_manifest(ctx: Context, job: Job, remotes: Remotes) -> StoredFile:
    """The manifest that the job names by its address, stored beside it as if it had been sent.

    ItemError when it cannot be had: then nothing is imported, and nothing removed.
    """
    address = str(job.params["manifest"])
    max_bytes = ctx.settings.max_manifest_mib * MEBIBYTE
    try:
        found = remotes.fetch(address, max_bytes=max_bytes)
    except ItemError as error:
        raise ItemError(error.item_code, f"The manifest cannot be fetched: {error.detail}") from error
    data = b"" if isinstance(found, NotModified) else found.data
    key = upload_key(job.tenant_id, job.id, 0)
    ctx.objects.put(key, data, media_type="application/octet-stream")
    return StoredFile(manifest_name(address), key, len(data))


def _entry_place(file: StoredFile, entry: ArchiveEntry) -> Place:
    return Place(file.key, file.size_bytes, entry)


def _safe_name(filename: str) -> str | ItemError:
    """The name of a loose file, or why it has none: then it fails alone."""
    try:
        return archives.normalise(filename)
    except ItemError as error:
        return error


class Sources:
    """The uploaded files of an import: pictures, archives, lists of URLs, and at most one manifest."""

    def __init__(
        self, ctx: Context, stack: ExitStack, files: Sequence[StoredFile], *, prefixes: ImportPrefixes
    ) -> None:
        self._ctx = ctx
        self._stack = stack
        self._prefixes = prefixes
        self._archives = [(file, self._open_archive(file)) for file in files if is_archive_name(file.filename)]
        self._manifests = [file for file in files if is_manifest_name(file.filename)]
        self._lists = [file for file in files if is_url_list_name(file.filename)]
        pictures = [
            file
            for file in files
            if not is_archive_name(file.filename)
            and not is_manifest_name(file.filename)
            and not is_url_list_name(file.filename)
        ]
        self._loose_files = [(_safe_name(file.filename), file) for file in pictures]
        self._pictures = {name: file for name, file in self._loose_files if isinstance(name, str)}

    def _open_archive(self, file: StoredFile) -> Archive:
        settings = self._ctx.settings
        limits = archives.Limits(max_entries=settings.max_archive_entries, max_ratio=settings.max_archive_ratio)
        return archives.open_archive(self._open(file), file.filename, limits)

    def _open(self, file: StoredFile) -> BinaryIO:
        watched = io.BufferedReader(Watched(self._ctx.objects.open(file.key)), _BUFFER)
        return cast("BinaryIO", self._stack.enter_context(watched))

    def items(self, schema: dict[str, str]) -> Iterator[Planned]:
        """Rows of the manifest if there is one; else every file and entry is an item of its own."""
        inner = [(file, archive) for file, archive in self._archives if archive.manifest is not None]
        if len(self._manifests) + len(inner) > 1:
            raise InvalidInputError("There is more than one manifest; send one .csv or .jsonl per import.")
        if self._manifests or inner:
            self._check_unique()
        if self._manifests:
            file = self._manifests[0]
            stream = self._stack.enter_context(self._ctx.objects.open(file.key))
            yield from self._rows(stream, file.filename, schema)
        elif inner:
            file, archive = inner[0]
            entry = archive.manifest
            if entry is not None:
                # The manifest streams while rows look entries up, so it reads through a file of its own.
                ratio = self._ctx.settings.max_archive_ratio
                manifest = archives.open_archived(self._open(file), entry, max_ratio=ratio)
                yield from self._rows(manifest, f"{file.filename}/{entry.name}", schema)
        else:
            yield from self._loose()

    def _check_unique(self) -> None:
        """A manifest's rows name files: of two with one name nobody could tell which is meant."""
        names = [name for name, _ in self._loose_files if isinstance(name, str)]
        if len(names) > len(self._pictures):
            raise InvalidInputError("Two uploaded files have the same name; give each its own, or send an archive.")

    def _rows(self, stream: BinaryIO, name: str, schema: dict[str, str]) -> Iterator[Planned]:
        try:
            for row in read_manifest(stream, name, schema=schema):
                source = f"{name}:{row.line}"
                if isinstance(row, RowError):
                    yield failed(row.external_id, source, row.code, row.detail)
                else:
                    yield self._row(row, source)
        except ItemError as error:
            raise InvalidInputError(f"The manifest {name} cannot be read to its end: {error.detail}") from error

    def _row(self, row: Row, source: str) -> Planned:
        if row.operation is Operation.DELETE:
            return PlannedDelete(row.external_id, source)
        try:
            return PlannedItem(row.external_id, row.attributes, source, self._find(row.image))
        except ItemError as error:
            return failed(row.external_id, source, error.item_code, error.detail)

    def _find(self, image: str) -> Place | Remote:
        if is_address(image):
            return remote(image, self._prefixes)
        missing: ItemError | None = None
        for file, archive in self._archives:
            try:
                return _entry_place(file, archive.find(image))
            except ItemError as error:
                missing = error
        uploaded = self._pictures.get(archives.normalise(image))
        if uploaded is not None:
            return Place(uploaded.key, uploaded.size_bytes)
        raise missing or ItemError("missing_file", f"No uploaded file is named {image!r}; send it with the manifest.")

    def _loose(self) -> Iterator[Planned]:
        for file, archive in self._archives:
            for item in archive.items():
                if isinstance(item, Rejected):
                    yield failed(item.name, f"{file.filename}/{item.name}", item.code, item.detail)
                else:
                    yield PlannedItem(item.name, None, f"{file.filename}/{item.name}", _entry_place(file, item))
        for name, file in self._loose_files:
            if isinstance(name, ItemError):
                yield failed(archives.shown(file.filename), archives.shown(file.filename), name.item_code, name.detail)
            elif problem := external_id_problem(name):
                yield failed(name, name, "bad_external_id", f"{problem}.")
            else:
                yield PlannedItem(name, None, name, Place(file.key, file.size_bytes))
        for file in self._lists:
            stream = self._stack.enter_context(self._ctx.objects.open(file.key))
            yield from listed_items(stream, self._prefixes, comments=file.comments)
