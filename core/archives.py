"""Uploaded archives: which entries are items, where the manifest is, and how its paths find their entries."""

import posixpath
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import BinaryIO

from core.errors import InvalidInputError, ItemError
from core.manifests import external_id_problem, is_manifest_name
from core.zipfiles import Entry, directory, open_entry, read_entry

_JUNK_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_JUNK_FOLDERS = frozenset({"__macosx"})
_DRIVE = re.compile(r"[A-Za-z]:")
_MAX_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of an archive: entries in all, and the ratio of unpacked to packed size of one entry."""

    max_entries: int
    max_ratio: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry that cannot become an item, under a name fit to be shown.

    Codes: `unsafe_path`, `duplicate_entry`, `archive_bomb`, `bad_external_id`.
    """

    name: str
    code: str
    detail: str


class Archive:
    """An opened ZIP archive. Reading moves the one underlying stream: use it from one thread at a time."""

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        self._stream, self._limits = stream, limits
        self._entries: dict[str, Entry] = {}
        self.rejected: list[Rejected] = []
        for entry in directory(stream, max_entries=limits.max_entries):
            self._add(entry)
        self._reject_overlaps()

    def names(self) -> tuple[str, ...]:
        """Normalised names of the usable entries, in the archive's order; folders and junk files left out."""
        return tuple(self._entries)

    @cached_property
    def manifest(self) -> Entry | None:
        """The one `*.csv` or `*.jsonl` at the top, or in the single top folder; None when there is none.

        InvalidInputError when there are several.
        """
        found = [name for name in self._entries if "/" not in name and is_manifest_name(name)]
        folders = {name.partition("/")[0] for name in self._entries if "/" in name}
        if not found and len(folders) == 1 and all("/" in name for name in self._entries):
            found = [name for name in self._entries if name.count("/") == 1 and is_manifest_name(name)]
        if len(found) > 1:
            shown = ", ".join(sorted(found)[:5])
            raise InvalidInputError(f"The archive has {len(found)} manifests ({shown}): keep one .csv or .jsonl.")
        return self._entries[found[0]] if found else None

    def items(self) -> Iterator[Entry | Rejected]:
        """What an import without a manifest works on: every file, named by its external id, and every rejection."""
        for name, entry in self._entries.items():
            problem = external_id_problem(name)
            yield Rejected(_shown(name), "bad_external_id", f"{problem}.") if problem else entry
        yield from self.rejected

    def find(self, path: str) -> Entry:
        """The entry that a manifest's `image` names, relative to the manifest's folder or to the archive's top.

        ItemError `missing_file` (with a near miss, if there is one) or `unsafe_path`.
        """
        name = normalise(path)
        folder = posixpath.dirname(self.manifest.name) if self.manifest else ""
        entry = self._entries.get(f"{folder}/{name}" if folder else name) or self._entries.get(name)
        if entry is None:
            near = self._by_base_name.get(_base_key(name))
            hint = f"did you mean {near!r}?" if near else "check the path, which is relative to the manifest."
            raise ItemError("missing_file", f"The archive has no file {_shown(name)!r}: {hint}")
        return entry

    def read(self, entry: Entry, *, max_bytes: int) -> bytes:
        """The entry's content; ItemErrors of `core.zipfiles.read_entry`."""
        return read_entry(self._stream, entry, max_bytes=max_bytes, max_ratio=self._limits.max_ratio)

    def open(self, entry: Entry) -> BinaryIO:
        """The entry's content as a stream in constant memory: for manifests. ItemErrors as for `read`."""
        return open_entry(self._stream, entry, max_ratio=self._limits.max_ratio)

    def _add(self, entry: Entry) -> None:
        try:
            name = normalise(entry.name)
        except ItemError as error:
            self.rejected.append(Rejected(_shown(entry.name), error.item_code, error.detail))
            return
        if entry.name.endswith(("/", "\\")) or _is_junk(name):
            return
        if name in self._entries:
            detail = "The archive has an earlier entry of the same name, which was used: rename one of them."
            self.rejected.append(Rejected(_shown(name), "duplicate_entry", detail))
            return
        self._entries[name] = entry if name == entry.name else replace(entry, name=name)

    def _reject_overlaps(self) -> None:
        """Entries that share packed bytes are how small files unpack to petabytes."""
        end = 0
        for entry in sorted(self._entries.values(), key=lambda one: one.offset):
            if entry.offset < end:
                del self._entries[entry.name]
                detail = "The entry overlaps another one: pack the archive again with an ordinary tool."
                self.rejected.append(Rejected(_shown(entry.name), "archive_bomb", detail))
            end = max(end, entry.offset + entry.packed_bytes)

    @cached_property
    def _by_base_name(self) -> dict[str, str]:
        return {_base_key(name): _shown(name) for name in self._entries}


def open_zip(stream: BinaryIO, limits: Limits) -> Archive:
    """Read the directory of a seekable ZIP file.

    InvalidInputError when it is none, is damaged, holds no file, or has too many entries.
    """
    archive = Archive(stream, limits)
    if not archive.names() and not archive.rejected:
        raise InvalidInputError("The archive holds no files: pack pictures, with or without a manifest.")
    return archive


def normalise(path: str) -> str:
    """One spelling of a relative path: `/` between parts, no `.` parts, composed accents (NFC).

    ItemError `unsafe_path` for an absolute path, one with `..`, or one with characters that no file name has.
    """
    parts = [part for part in unicodedata.normalize("NFC", path).replace("\\", "/").split("/") if part not in {"", "."}]
    if path.startswith(("/", "\\")) or _DRIVE.match(path) or ".." in parts or "\0" in path:
        raise ItemError("unsafe_path", f"{_shown(path)!r} points out of the archive: use a relative path without `..`.")
    return "/".join(parts)


def _is_junk(name: str) -> bool:
    parts = name.lower().split("/")
    return not name or parts[-1] in _JUNK_NAMES or parts[-1].startswith("._") or not _JUNK_FOLDERS.isdisjoint(parts)


def _base_key(name: str) -> str:
    return name.rpartition("/")[2].casefold()


def _shown(name: str) -> str:
    """A name that can be stored and printed, whatever the archive holds."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name[:_MAX_SHOWN])
