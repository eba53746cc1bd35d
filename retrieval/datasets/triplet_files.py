"""Triplets that come in one file: LaSCo's JSON list, and judgements of search results as JSON lines."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints, ValidationError
from pydantic import model_validator as validator

from core.errors import InvalidInputError, NotFoundError
from retrieval.datasets.composed import CirDataset, CirQuery, by_id, checked, listed, read_json

Row = TypeVar("Row", bound=BaseModel)

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _path_of(image: Any) -> Any:
    """LaSCo names a picture by a pair of id and path."""
    return image[1] if isinstance(image, list) and len(image) == 2 else image  # noqa: PLR2004 - a pair


ImageName = Annotated[Text, BeforeValidator(_path_of)]


class LascoRow(BaseModel):
    """One triplet of LaSCo; whatever else it has (`qid`) is not read."""

    model_config = ConfigDict(frozen=True)

    reference: ImageName = Field(alias="query-image")
    text: Text = Field(alias="query-text")
    target: ImageName = Field(alias="target-image")

    @validator(mode="after")
    def _differ(self) -> "LascoRow":
        if name_of(self.reference) == name_of(self.target):
            raise ValueError("target-image is query-image")
        return self


class FeedbackRow(BaseModel):
    """One judgement: does the picture answer what was asked of the reference?

    `image` is the picture's path; where there is none, `external_id` is taken for it, which is what folder imports make
    of paths.
    """

    model_config = ConfigDict(frozen=True)

    reference: Text
    text: Text
    relevant: StrictBool
    image: Text | None = None
    external_id: Text | None = None

    @validator(mode="after")
    def _names_a_picture(self) -> "FeedbackRow":
        if self.image is None and self.external_id is None:
            raise ValueError("image or external_id must name the judged picture")
        return self

    @property
    def judged(self) -> str:
        """Name of the judged picture."""
        return name_of(self.image or self.external_id or "")


def read_lasco(path: Path, images: Path | None = None) -> CirDataset:
    """A JSON list of {"query-image": [id, path], "query-text", "target-image": [id, path]}, or with bare paths.

    Source of the format: the GitHub repository levymsn/LaSCo. Paths count from `images`, else from the file's folder.
    InvalidInputError lists bad rows by number, from 1; NotFoundError lists missing pictures.
    """
    rows = _rows(path, enumerate(read_json(path, list[Any]), start=1), LascoRow)
    queries = tuple(
        CirQuery(str(number), name_of(row.reference), (row.text,), (name_of(row.target),)) for number, row in rows
    )
    return _dataset("lasco", path, queries, images)


def read_feedback(path: Path, images: Path | None = None) -> CirDataset:
    """JSON lines of `FeedbackRow`; the judgements of one reference and text belong together, the later one counts.

    Each relevant picture makes a query whose other targets are right as well, and whose members are all that was
    judged. What has no relevant picture is left out, with a note, and so is what was said of the reference itself:
    training takes it for a wrong answer anyway. Paths and errors as in `read_lasco`.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.")
    judged: dict[tuple[str, str], dict[str, tuple[int, bool]]] = {}
    for number, row in _rows(path, _lines(path), FeedbackRow):
        asked = (name_of(row.reference), " ".join(row.text.split()))
        if row.judged == asked[0]:
            continue
        judged.setdefault(asked, {})[row.judged] = (number, row.relevant)
    queries = tuple(query for asked, found in judged.items() for query in _queries(*asked, found))
    if not queries:
        raise InvalidInputError(f"{path} has no relevant picture: training needs at least one right answer.")
    silent = sum(not any(relevant for _, relevant in found.values()) for found in judged.values())
    notes = (f"{silent} of {len(judged)} requests have no relevant picture and are left out",) if silent else ()
    return _dataset("feedback", path, queries, images, notes)


def name_of(path: str) -> str:
    """One spelling for each path: `./a.jpg` and `a.jpg` are the same picture."""
    return str(PurePosixPath(path))


def _queries(reference: str, text: str, found: dict[str, tuple[int, bool]]) -> Iterator[CirQuery]:
    right = [name for name, (_, relevant) in found.items() if relevant]
    for name in right:
        others = tuple(other for other in right if other != name)
        yield CirQuery(str(found[name][0]), reference, (text,), (name, *others), tuple(found))


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Numbered JSON lines, blank ones left out. A line that is no JSON comes as its own text, for the error's list."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except ValueError:
                yield number, line


def _rows(path: Path, contents: Iterable[tuple[int, Any]], shape: type[Row]) -> list[tuple[int, Row]]:
    """Numbered rows as `shape`. InvalidInputError lists the bad ones, each with its first fault."""
    rows, bad = [], []
    for number, content in contents:
        try:
            rows.append((number, shape.model_validate(content)))
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            bad.append(f"row {number}: {place}{': ' if place else ''}{fault['msg'].removeprefix('Value error, ')}")
    if bad:
        raise InvalidInputError(f"{len(bad)} rows of {path} are not as they should be: {listed(bad)}")
    return rows


def _dataset(
    name: str, path: Path, queries: tuple[CirQuery, ...], images: Path | None, notes: tuple[str, ...] = ()
) -> CirDataset:
    """Its gallery is every picture that a query names."""
    root = images or path.parent
    names = {each for query in queries for each in (query.reference, *query.targets, *query.members)}
    gallery = by_id(names, lambda each: root / each)
    return checked(CirDataset(name=name, split=path.name, images=gallery, queries=queries, notes=notes))
