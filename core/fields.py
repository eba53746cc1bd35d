"""Types of fields that come from outside, in requests and in lines of files, and what is said about wrong ones."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from core.errors import FieldError, InvalidInputError
from core.urls import MAX_URL

NO_NUL = r"^[^\x00]*$"  # Postgres takes none
MAX_DEPTH = 16
MAX_ERRORS = 20


def storable(value: Any, *, depth: int = 0) -> Any:
    """`value` itself when Postgres's JSON can hold it: no NUL, no lone surrogates, finite numbers. Else ValueError."""
    if depth > MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    match value:
        case str():
            if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
                raise ValueError("contains NUL or half of a surrogate pair")
        case float():
            if not math.isfinite(value):
                raise ValueError("contains a number that is not finite")
        case dict():
            for key, held in value.items():
                storable(key, depth=depth + 1)
                storable(held, depth=depth + 1)
        case list():
            for held in value:
                storable(held, depth=depth + 1)
    return value


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("use printable characters only")
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=NO_NUL)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
ExternalId = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=NO_NUL), AfterValidator(_printable)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL, pattern=NO_NUL)]
CallbackUrl = Annotated[
    Url,
    Field(description="Called by a signed POST (Standard Webhooks) when the job has ended."),
]
JsonObject = Annotated[dict[str, Any], AfterValidator(storable)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Body(BaseModel):
    """Base of everything that comes in."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def invalid(error: ValidationError, document: object) -> InvalidInputError:
    """A failed validation of `document` as our own error, with JSON pointers into it."""
    found = error.errors(include_url=False, include_context=False)
    fields = tuple(FieldError(pointer(each, document), each["msg"]) for each in found[:MAX_ERRORS])
    first = fields[0]
    return InvalidInputError(f"{first.pointer or 'The body'}: {first.detail}", errors=fields)


def pointer(error: ErrorDetails, document: object) -> str:
    """JSON pointer to where `document` is wrong. Names of union members, which pydantic adds, are left out."""
    parts: list[str] = []
    here = document
    for number, part in enumerate(error["loc"]):
        is_last = number == len(error["loc"]) - 1
        if _has(here, part):
            here = here[part]  # type: ignore[index]
        elif not (is_last and error["type"] == "missing"):
            continue
        parts.append(str(part).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts)


def _has(document: object, part: str | int) -> bool:
    if isinstance(document, Mapping):
        return part in document
    return isinstance(document, list) and isinstance(part, int) and part < len(document)
