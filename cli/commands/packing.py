"""From a path on this disk to one file to upload: a picture or archive as it is, a folder or manifest as a ZIP."""

import csv
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from cli.transport import ClientError

PICTURES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"})
OTHER_PICTURES = frozenset({".avif", ".bmp", ".gif", ".heic", ".heif", ".tif", ".tiff"})
"""Sent as well: the server may not read them, but then each is listed with a reason instead of passed over."""

MANIFESTS = frozenset({".csv", ".jsonl"})
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
MEDIA_TYPES = {
    ".zip": "application/zip",
    ".tar": "application/x-tar",
    ".gz": "application/gzip",
    ".tgz": "application/gzip",
    ".csv": "text/csv",
    ".jsonl": "application/x-ndjson",
    ".png": "image/png",
    ".webp": "image/webp",
}

_REMOTE = ("http://", "https://", "s3://")
_LISTED = 20

Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Packed:
    """One file to upload."""

    path: Path
    filename: str
    media_type: str

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be sent: `files` maps a path inside the archive to a file on disk.

    `manifest` is None, or the name of the manifest and its text, in which `image` names those paths. `remarks` are for
    the user. A plan without an archive (`single`) is one file that is sent as it is.
    """

    files: dict[str, Path] = field(default_factory=dict)
    manifest: tuple[str, str] | None = None
    remarks: tuple[str, ...] = ()
    single: Path | None = None

    @property
    def count(self) -> int:
        """Files that go into the archive."""
        return len(self.files)


def plan(path: Path) -> Plan:
    """What importing `path` would send. Reads names and manifests only; raises ClientError with everything missing."""
    if path.is_dir():
        return _plan_folder(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise ClientError(
            f"{path} does not exist.", hint="Name a folder of pictures, an archive, or a .csv/.jsonl manifest."
        )
    if suffix in MANIFESTS:
        return _plan_manifest(path)
    if path.name.lower().endswith(ARCHIVES) or suffix in PICTURES | OTHER_PICTURES:
        return Plan(single=path)
    raise ClientError(
        f"{path.name} is neither a picture, an archive (.zip, .tar, .tar.gz) nor a manifest (.csv, .jsonl).",
        hint="A folder works as well.",
    )


def pack(wanted: Plan, folder: Path, *, on_file: Callable[[int], None]) -> Packed:
    """The file to upload, a ZIP made in `folder` where one is needed. `on_file` is told the files packed so far.

    Pictures are stored, not deflated: they are compressed already.
    """
    if wanted.single is not None:
        return as_is(wanted.single)
    path = folder / "import.zip"
    try:
        _write(path, wanted, on_file)
    except OSError as error:
        raise ClientError(
            f"Cannot pack {wanted.count:,} files: {error}.",
            hint=f"The ZIP is written to {folder.parent}; TMPDIR chooses another place.",
        ) from error
    return as_is(path)


def media_type(path: Path) -> str:
    """Media type by extension."""
    return MEDIA_TYPES.get(path.suffix.lower(), "image/jpeg")


def as_is(path: Path) -> Packed:
    """A file that is sent unchanged."""
    return Packed(path=path, filename=path.name, media_type=media_type(path))


def _write(path: Path, wanted: Plan, on_file: Callable[[int], None]) -> None:
    # Files from before 1980 exist; a ZIP cannot say so.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        if wanted.manifest is not None:
            archive.writestr(wanted.manifest[0], wanted.manifest[1], zipfile.ZIP_DEFLATED)
        for done, (name, file) in enumerate(wanted.files.items(), start=1):
            archive.write(file, name)
            on_file(done)


def _plan_folder(folder: Path) -> Plan:
    files: dict[str, Path] = {}
    others: list[str] = []
    for path in _visible_files(folder):
        name = path.relative_to(folder).as_posix()
        if path.suffix.lower() in PICTURES | OTHER_PICTURES:
            files[name] = path
        else:
            others.append(name)
    _check_names(files)
    manifests = [name for name in others if PurePosixPath(name).suffix.lower() in MANIFESTS]
    hint = f"To use the attributes in a manifest, import it by name: {folder / manifests[0]}" if manifests else ""
    if not files:
        raise ClientError(f"There is no picture (JPEG, PNG, WebP) in {folder}.", hint=hint)
    remarks = [f"Left out {len(others):,} files that are no pictures: {_some(others, 5)}"] if others else []
    return Plan(files=files, remarks=(*remarks, *([hint] if hint else [])))


def _visible_files(folder: Path) -> Iterator[Path]:
    """Files below the folder in a stable order; hidden ones are the file manager's own."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _plan_manifest(path: Path) -> Plan:
    columns, rows = (_csv_rows if path.suffix.lower() == ".csv" else _jsonl_rows)(path)
    files: dict[str, Path] = {}
    missing: list[str] = []
    for line, row in rows:
        image = row.get("image")
        if not isinstance(image, str) or not image or image.startswith(_REMOTE):
            continue
        file = path.parent / image
        if file.is_file():
            row["image"] = _place(files, image, file)
        else:
            missing.append(f"line {line}: {image}")
    if missing:
        raise ClientError(
            f"{path.name} names {len(missing):,} pictures that are not there:\n  " + _some(missing, _LISTED, "\n  "),
            hint=f"Paths count from the manifest's own folder ({path.parent.resolve()}). Nothing was sent.",
        )
    _check_names(files)
    kept = [row for _, row in rows]
    text = _csv_text(columns, kept) if path.suffix.lower() == ".csv" else _jsonl_text(kept)
    return Plan(files=files, manifest=(path.name, text))


def _place(files: dict[str, Path], image: str, file: Path) -> str:
    """A path inside the archive for a file: its own where that stays inside, else a numbered one."""
    name = PurePosixPath(image)
    if name.is_absolute() or ".." in name.parts:
        name = PurePosixPath("elsewhere", *(part for part in name.parts if part not in ("/", "..")))
    files.setdefault(name.as_posix(), file)
    if files[name.as_posix()] != file:
        name = name.with_stem(f"{name.stem}-{len(files)}")
        files[name.as_posix()] = file
    return name.as_posix()


def _csv_rows(path: Path) -> tuple[list[str], list[tuple[int, Row]]]:
    with _opened(path) as stream:
        reader = csv.DictReader(stream)
        columns = list(reader.fieldnames or [])
        if "image" not in columns or "external_id" not in columns:
            raise ClientError(
                f"{path.name} needs the columns `external_id` and `image`; it has: {', '.join(columns) or 'none'}.",
                hint="The first line names the columns, separated by commas.",
            )
        rows = []
        for row in reader:
            if None in row or None in row.values():
                raise ClientError(
                    f"{path.name}, line {reader.line_num}: the number of cells is not that of the first line.",
                    hint="Put cells that contain a comma in double quotes.",
                )
            rows.append((reader.line_num, dict(row)))
    return columns, rows


def _jsonl_rows(path: Path) -> tuple[list[str], list[tuple[int, Row]]]:
    rows = []
    with _opened(path) as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise ClientError(
                    f"{path.name}, line {line} is not a JSON object.", hint="JSONL has one object a line."
                )
            rows.append((line, row))
    return [], rows


@contextmanager
def _opened(path: Path) -> Iterator[io.TextIOWrapper]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield stream
    except UnicodeDecodeError as error:
        raise ClientError(f"{path.name} is not UTF-8 text.", hint="Save it as UTF-8 and try again.") from error
    except csv.Error as error:
        raise ClientError(f"{path.name} is not readable as CSV: {error}.") from error


def _csv_text(columns: list[str], rows: list[Row]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _jsonl_text(rows: list[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _check_names(files: dict[str, Path]) -> None:
    unreadable = [name for name in files if not name.isprintable()]
    if unreadable:
        raise ClientError(
            f"{len(unreadable):,} file names cannot be sent: {_some([ascii(name) for name in unreadable], _LISTED)}",
            hint="Rename them with printable UTF-8 characters. Nothing was sent.",
        )


def _some(names: list[str], count: int, separator: str = ", ") -> str:
    more = len(names) - count
    return separator.join(names[:count]) + (f"{separator}… and {more:,} more" if more > 0 else "")
