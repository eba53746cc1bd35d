"""Uploaded archives: which entries are items, where the manifest is, and how its paths find their entries."""

import posixpath
import re
import struct
import unicodedata
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import BinaryIO

from core.errors import InvalidInputError, ItemError
from core.items import ArchiveEntry
from core.manifests import external_id_problem, is_manifest_name
from core.tarfiles import TarEntry, TarKind, open_tar_entry, read_tar_entry, tar_directory
from core.zipfiles import Entry, directory, open_entry, read_entry

_JUNK_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_JUNK_FOLDERS = frozenset({"__macosx"})
_DRIVE = re.compile(r"[A-Za-z]:")
_MAX_SHOWN = 512
_GZIPPED = (".tar.gz", ".tgz")
_ZIP_ENTRY, _TAR_ENTRY = struct.Struct("<QQQHHL"), struct.Struct("<QQ")
_MOST = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of an archive: entries in all, and the ratio of unpacked to packed size of one entry."""

    max_entries: int
    max_ratio: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry that cannot become an item, under a name fit to be shown.

    Codes: `unsafe_path`, `duplicate_entry`, `archive_bomb`, `unsupported_entry`, `bad_external_id`.
    """

    name: str
    code: str
    detail: str


class _Directory(MutableMapping[str, ArchiveEntry]):
    """Entries by their normalised names, in the archive's order.

    Packed, as an archive may have a million: as objects they would take twice the memory.
    """

    def __init__(self) -> None:
        self._packed: dict[str, bytes] = {}

    def __setitem__(self, name: str, entry: ArchiveEntry) -> None:
        offset = min(entry.offset, _MOST)  # where a damaged archive says even more, there is nothing either
        if isinstance(entry, TarEntry):
            self._packed[name] = _TAR_ENTRY.pack(offset, min(entry.size_bytes, _MOST))
            return
        self._packed[name] = _ZIP_ENTRY.pack(
            offset, entry.packed_bytes, entry.size_bytes, entry.method, entry.flags, entry.crc32
        )

    def __getitem__(self, name: str) -> ArchiveEntry:
        packed = self._packed[name]
        if len(packed) == _TAR_ENTRY.size:
            return TarEntry(name, *_TAR_ENTRY.unpack(packed))
        return Entry(name, *_ZIP_ENTRY.unpack(packed))

    def __delitem__(self, name: str) -> None:
        del self._packed[name]

    def __contains__(self, name: object) -> bool:
        return name in self._packed

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


class Archive:
    """An opened archive. Reading moves the one underlying stream: use it from one thread at a time."""

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        self._stream, self._limits = stream, limits
        self._entries = _Directory()
        self.rejected: list[Rejected] = []

    def names(self) -> tuple[str, ...]:
        """Normalised names of the usable entries, in the archive's order; folders and junk files left out."""
        return tuple(self._entries)

    @cached_property
    def manifest(self) -> ArchiveEntry | None:
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

    def items(self) -> Iterator[ArchiveEntry | Rejected]:
        """What an import without a manifest works on: every file, named by its external id, and every rejection."""
        for name, entry in self._entries.items():
            problem = external_id_problem(name)
            yield Rejected(shown(name), "bad_external_id", f"{problem}.") if problem else entry
        yield from self.rejected

    def find(self, path: str) -> ArchiveEntry:
        """The entry that a manifest's `image` names, relative to the manifest's folder or to the archive's top.

        ItemError `missing_file` (with a near miss, if there is one), `unsafe_path`, or why the entry was rejected.
        """
        name = normalise(path)
        folder = posixpath.dirname(self.manifest.name) if self.manifest else ""
        within = f"{folder}/{name}" if folder else name
        entry = self._entries.get(within) or self._entries.get(name)
        if entry is None:
            self._refuse_rejected(within, name)
            near = self._by_base_name.get(_base_key(name))
            hint = f"did you mean {near!r}?" if near else "check the path, which is relative to the manifest."
            raise ItemError("missing_file", f"The archive has no file {shown(name)!r}: {hint}")
        return entry

    def read(self, entry: ArchiveEntry, *, max_bytes: int) -> bytes:
        """The entry's content; ItemErrors of `read_archived`."""
        return read_archived(self._stream, entry, max_bytes=max_bytes, max_ratio=self._limits.max_ratio)

    def open(self, entry: ArchiveEntry) -> BinaryIO:
        """The entry's content as a stream in constant memory: for manifests. ItemErrors as for `read`."""
        return open_archived(self._stream, entry, max_ratio=self._limits.max_ratio)

    def add(self, entry: ArchiveEntry) -> None:
        """Take an entry in, or reject it. The first of several with one name counts."""
        try:
            name = normalise(entry.name)
        except ItemError as error:
            self.rejected.append(Rejected(shown(entry.name), error.item_code, error.detail))
            return
        if entry.name.endswith(("/", "\\")) or is_junk(name):
            return
        if name in self._entries:
            detail = "The archive has an earlier entry of the same name, which was used: rename one of them."
            self.rejected.append(Rejected(shown(name), "duplicate_entry", detail))
            return
        self._entries[name] = entry

    def reject(self, entry: ArchiveEntry, code: str, detail: str) -> None:
        """Note an entry that cannot become an item."""
        try:
            name = normalise(entry.name)
        except ItemError as error:
            name, code, detail = entry.name, error.item_code, error.detail
        if not is_junk(name):
            self.rejected.append(Rejected(shown(name), code, detail))

    def reject_overlaps(self) -> None:
        """Entries that share packed bytes are how small ZIP files unpack to petabytes."""
        if self._follow_each_other():
            return
        end = 0
        spans = [(each.offset, each.packed_bytes, each.name) for each in self._zip_entries()]
        for offset, packed_bytes, name in sorted(spans, key=itemgetter(0)):  # of equals the archive's first stays
            if offset < end:
                del self._entries[name]
                detail = "The entry overlaps another one: pack the archive again with an ordinary tool."
                self.rejected.append(Rejected(shown(name), "archive_bomb", detail))
            end = max(end, offset + packed_bytes)

    def _follow_each_other(self) -> bool:
        """Whether no entry begins before the end of the one listed before it: so they do in almost every archive."""
        end = 0
        for entry in self._zip_entries():
            if entry.offset < end:
                return False
            end = entry.offset + entry.packed_bytes
        return True

    def _zip_entries(self) -> Iterator[Entry]:
        return (entry for entry in self._entries.values() if isinstance(entry, Entry))

    def _refuse_rejected(self, *names: str) -> None:
        """Say what is wrong with an entry that a manifest names, rather than that it is not there."""
        for name in names:
            rejected = self._rejected_by_name.get(name)
            if rejected is not None:
                raise ItemError(rejected.code, rejected.detail)

    @cached_property
    def _rejected_by_name(self) -> dict[str, Rejected]:
        return {rejected.name: rejected for rejected in self.rejected}

    @cached_property
    def _by_base_name(self) -> dict[str, str]:
        return {_base_key(name): shown(name) for name in self._entries}


def is_archive_name(name: str) -> bool:
    """Whether a file of this name is an archive that is opened."""
    return name.lower().endswith((".zip", ".tar", *_GZIPPED))


def is_gzipped_tar(name: str) -> bool:
    """Whether a file of this name has to be unpacked before its entries can be read one by one."""
    return name.lower().endswith(_GZIPPED)


def open_archive(stream: BinaryIO, name: str, limits: Limits) -> Archive:
    """Read the directory of a seekable ZIP or, by its name, (unpacked) tar file.

    InvalidInputError when it is none, is damaged, holds no file, or has too many entries.
    """
    archive = Archive(stream, limits)
    if name.lower().endswith(".zip"):
        for entry in directory(stream, max_entries=limits.max_entries):
            archive.add(entry)
        archive.reject_overlaps()
    else:
        _add_tar(archive, stream, limits)
    if not archive.names() and not archive.rejected:
        raise InvalidInputError("The archive holds no files: pack pictures, with or without a manifest.")
    return archive


def _add_tar(archive: Archive, stream: BinaryIO, limits: Limits) -> None:
    for entry, kind in tar_directory(stream, max_entries=limits.max_entries):
        if kind is TarKind.FILE:
            archive.add(entry)
        elif kind is TarKind.LINK:
            detail = "The entry is a link to another file: pack the files themselves (`tar -h --hard-dereference`)."
            archive.reject(entry, "unsupported_entry", detail)
        elif kind is TarKind.OTHER:
            detail = "The entry is a device or another special file: pack pictures only."
            archive.reject(entry, "unsupported_entry", detail)


def open_archived(stream: BinaryIO, entry: ArchiveEntry, *, max_ratio: int) -> BinaryIO:
    """An entry's content as a stream in constant memory, which moves `stream`; ItemErrors as for `read_archived`."""
    if isinstance(entry, TarEntry):
        return open_tar_entry(stream, entry)
    return open_entry(stream, entry, max_ratio=max_ratio)


def read_archived(stream: BinaryIO, entry: ArchiveEntry, *, max_bytes: int, max_ratio: int) -> bytes:
    """An entry's content; ItemErrors of `core.zipfiles.read_entry` or `core.tarfiles.read_tar_entry`."""
    if isinstance(entry, TarEntry):
        return read_tar_entry(stream, entry, max_bytes=max_bytes)
    return read_entry(stream, entry, max_bytes=max_bytes, max_ratio=max_ratio)


def normalise(path: str) -> str:
    """One spelling of a relative path: `/` between parts, no `.` parts, composed accents (NFC).

    ItemError `unsafe_path` for an absolute path, one with `..`, or one with characters that no file name has.
    """
    parts = [part for part in unicodedata.normalize("NFC", path).replace("\\", "/").split("/") if part not in {"", "."}]
    if path.startswith(("/", "\\")) or _DRIVE.match(path) or ".." in parts or "\0" in path:
        raise ItemError("unsafe_path", f"{shown(path)!r} points out of the archive: use a relative path without `..`.")
    return "/".join(parts)


def is_junk(name: str) -> bool:
    """Whether a path is what desktops leave behind, not a file of the catalog."""
    parts = name.lower().split("/")
    return not name or parts[-1] in _JUNK_NAMES or parts[-1].startswith("._") or not _JUNK_FOLDERS.isdisjoint(parts)


def _base_key(name: str) -> str:
    return name.rpartition("/")[2].casefold()


def shown(name: str) -> str:
    """A name that can be stored and printed, whatever the archive holds."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name[:_MAX_SHOWN])
