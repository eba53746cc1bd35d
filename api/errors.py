"""Every error as an RFC 9457 problem: the one table from our errors to HTTP, and nothing else leaves the process."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from apiflask import APIFlask, HTTPError
from flask import Response, g, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from core.errors import (
    ConflictError,
    FieldError,
    ForbiddenError,
    IdempotencyKeyReusedError,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
    RateLimitedError,
    ServiceError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedMediaTypeError,
)
from core.fields import MAX_ERRORS, invalid

log = structlog.get_logger()

PROBLEM_MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
STATUS: Mapping[type[ServiceError], HTTPStatus] = {
    InvalidInputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    PreconditionFailedError: HTTPStatus.PRECONDITION_FAILED,
    IdempotencyKeyReusedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    RateLimitedError: HTTPStatus.TOO_MANY_REQUESTS,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}
# What Werkzeug refuses before a use case is reached: code and what to do.
HTTP_PROBLEMS: Mapping[int, tuple[str, str]] = {
    400: ("malformed_request", "The body is not well-formed; send what the Content-Type promises."),
    404: (NotFoundError.code, "There is nothing at this path; /docs lists the paths."),
    405: ("method_not_allowed", "This path does not take this method; see the Allow header."),
    413: (TooLargeError.code, "The body is larger than this call takes; send less at once."),
    415: (UnsupportedMediaTypeError.code, "This call does not take this media type; /docs lists those it takes."),
}
_HEADERS: Mapping[HTTPStatus, Mapping[str, str]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Bearer realm="setr"'},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": str(RETRY_AFTER_S)},
}


def register(app: APIFlask) -> None:
    """Answer every error of the application with a problem."""
    app.register_error_handler(ServiceError, _on_service_error)
    app.register_error_handler(HTTPError, _on_validation_error)
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(Exception, _on_unknown_error)


def problem(status: HTTPStatus, code: str, title: str, detail: str, **extensions: Any) -> Response:
    """A problem. `type` is a stable URN per cause; `instance` is the path that was called."""
    body = {
        "type": f"urn:setr:problem:{code}",
        "title": title,
        "status": int(status),
        "detail": detail,
        "instance": request.path,
        "request_id": g.get("request_id"),
        **extensions,
    }
    return Response(
        json.dumps(body), status=status, headers=dict(_HEADERS.get(status, {})), mimetype=PROBLEM_MEDIA_TYPE
    )


def _on_service_error(error: ServiceError) -> Response:
    """One of our errors. Those that no client can cause are logged and shown without detail."""
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), None)
    if status is None:
        return _on_unknown_error(error)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        log.warning("dependency_unavailable", detail=error.detail, cause=type(error.__cause__).__name__)
    fields = error.errors if isinstance(error, InvalidInputError) else ()
    extensions = {"errors": _listed(fields)} if fields else {}
    answer = problem(status, error.code, error.title, error.detail, **extensions)
    if isinstance(error, RateLimitedError):
        answer.headers["Retry-After"] = str(error.retry_after_s)
    return answer


def _on_validation_error(error: HTTPError) -> Response:
    """What APIFlask found wrong with the input; our views raise no other HTTPError."""
    if not isinstance(error.__cause__, ValidationError):
        return _on_unknown_error(error)
    document = request.get_json(silent=True) if "json" in error.detail else request.args
    return _on_service_error(invalid(error.__cause__, document))


def _on_http_error(error: HTTPException) -> Response | HTTPException:
    """What Werkzeug refused: unknown paths, methods, malformed bodies."""
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return error
    status = HTTPStatus(error.code)
    code, detail = HTTP_PROBLEMS.get(error.code, (status.name.lower(), status.description or status.phrase))
    answer = problem(status, code, status.phrase, detail)
    for name, value in error.get_headers():
        if name in {"Allow", "Retry-After"}:
            answer.headers[name] = value
    return answer


def _on_unknown_error(error: Exception) -> Response:
    """Anything else is our mistake: logged whole, shown without detail."""
    log.error("unhandled_error", exc_info=error)
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    detail = "Something went wrong on our side; quote the request_id when you report it."
    return problem(status, ServiceError.code, ServiceError.title, detail)


def _listed(fields: Sequence[FieldError]) -> list[dict[str, str]]:
    return [{"pointer": field.pointer, "detail": field.detail} for field in fields[:MAX_ERRORS]]
