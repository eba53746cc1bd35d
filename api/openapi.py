"""The OpenAPI document: what the types of the views cannot say is added here, for all operations at once."""

from collections.abc import Iterator
from typing import Any

from apiflask import APIFlask

from api.auth import SECURITY_SCHEMES
from api.errors import PROBLEM_MEDIA_TYPE
from api.replies import NDJSON
from api.schemas.common import Problem
from api.schemas.exports import ExportResult
from api.schemas.feedback import JudgmentOut
from api.schemas.imports import ImportIn
from api.schemas.indexes import ReindexResult
from api.schemas.queries import QueryBatchResult, QueryIn, QueryResult
from core.imports import MODES, UPSERT
from core.settings import Settings

DESCRIPTION = """Composed image retrieval over product catalogs: a reference picture plus a text find the products that
keep what the text leaves and change what it says. Long work is asynchronous: a 202 carries a job, and `GET /jobs/{id}`
tells how far it is. Errors are RFC 9457 problems whose `type` is stable per cause."""
CONDITIONAL = frozenset({"get_image", "get_content", "get_thumbnail", "get_job"})
BINARY = {"type": "string", "format": "binary"}
IDEMPOTENCY_KEY = "The same key and body within 24 hours bring the first response again, and do nothing twice."
CALLBACK_URL = "Called by a signed POST (Standard Webhooks) when the job has ended."
IF_MATCH = "The ETag that the change is based on; 412 when it is no longer the current one."
IF_NONE_MATCH = "An ETag; 304 when it is still the current one."
_REFERENCES = "#/components/schemas/{model}"
_IMPORT_EXAMPLES = {
    "urls": {"value": {"source": {"urls": ["https://cdn.shop.example/p/1.jpg", "https://cdn.shop.example/p/2.jpg"]}}},
    "manifest": {"value": {"source": {"manifest": "https://shop.example/catalog.csv"}, "mode": "mirror"}},
    "prefix": {"value": {"source": {"s3_prefix": "s3://catalog/summer-26/"}, "mode": "mirror"}},
    "uploads": {"value": {"source": {"upload_ids": ["0197c1de-5a3b-7c52-9f3e-0c3a5a4a6a11"]}}},
}
_FEEDBACK_LINES = {
    "schema": {"type": "string", "description": "A JudgmentOut a line."},
    "example": '{"reference": "sku-1", "text": "in red", "external_id": "sku-9", "relevant": true, "job_id": '
    '"0197c1de-5a3b-7c52-9f3e-0c3a5a4a6a11", "judged_at": "2026-11-23T12:00:00Z"}\n',
}


def register(app: APIFlask, settings: Settings) -> None:
    """Configure how the document is generated."""
    app.config.update(
        AUTO_SERVERS=False,
        AUTO_404_RESPONSE=False,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        AUTO_AUTH_ERROR_RESPONSE=False,
        AUTO_OPERATION_ID=True,
        DESCRIPTION=DESCRIPTION,
        LICENSE={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        SECURITY_SCHEMES=SECURITY_SCHEMES,
        SERVERS=[{"url": settings.public_url or "/"}],
    )
    app.spec_processor(complete)


def complete(spec: dict[str, Any] | str) -> dict[str, Any]:
    """Add short operation ids, problems, headers, request bodies and media types."""
    if isinstance(spec, str):
        raise TypeError("the document is generated as JSON")
    _add_schemas(spec)
    for method, operation in _operations(spec):
        # APIFlask: <method>_<blueprint>_<view>
        operation["operationId"] = operation["operationId"].removeprefix(f"{method}_").split("_", 1)[1]
        _add_headers(method, operation)
        _add_problems(operation)
        _add_bodies(operation)
    return spec


def _operations(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    methods = ("get", "post", "put", "patch", "delete")
    for item in spec["paths"].values():
        yield from ((method, item[method]) for method in methods if method in item)


def _add_schemas(spec: dict[str, Any]) -> None:
    schemas = spec["components"].setdefault("schemas", {})
    schemas.pop("HTTPError", None)  # APIFlask's own, which nothing here answers with
    for model in (ImportIn, Problem, QueryIn, QueryResult, QueryBatchResult, ExportResult, ReindexResult, JudgmentOut):
        schema = model.model_json_schema(ref_template=_REFERENCES)
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema


def _add_headers(method: str, operation: dict[str, Any]) -> None:
    parameters = operation.setdefault("parameters", [])
    if method == "post":
        parameters.append(_header("Idempotency-Key", IDEMPOTENCY_KEY))
    if method in {"patch", "delete"}:
        parameters.append(_header("If-Match", IF_MATCH))
    if operation["operationId"] in CONDITIONAL:
        parameters.append(_header("If-None-Match", IF_NONE_MATCH))
        operation["responses"]["304"] = {"description": "Not modified"}


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


def _add_problems(operation: dict[str, Any]) -> None:
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": _REFERENCES.format(model="Problem")}}}
    for status in [status for status in operation["responses"] if status >= "400"]:
        operation["responses"][status]["content"] = content
    operation["responses"]["default"] = {"description": "A problem; `type` names the cause", "content": content}


def _add_bodies(operation: dict[str, Any]) -> None:
    if "requestBody" in operation:
        operation["requestBody"]["required"] = True
    match operation["operationId"]:
        case "create_query":
            operation["requestBody"] = _query_body()
        case "create_query_batch":
            operation["requestBody"] = _batch_body()
        case "create_import":
            operation["requestBody"] = _import_body()
        case "get_content":
            operation["responses"]["200"]["content"] = {"image/*": {"schema": BINARY}}
        case "get_thumbnail":
            operation["responses"]["200"]["content"] = {"image/jpeg": {"schema": BINARY}}
        case "list_items":
            lines = {"schema": {"type": "string"}}
            operation["responses"]["200"]["content"].update({NDJSON: lines, "text/csv": lines})
        case "list_feedback":
            operation["responses"]["200"]["content"] = {NDJSON: _FEEDBACK_LINES}


def _query_body() -> dict[str, Any]:
    query = {"$ref": _REFERENCES.format(model="QueryIn")}
    parts = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"reference_image": {**BINARY, "description": "The reference picture."}, "query": query},
    }
    encoding = {"query": {"contentType": "application/json"}}
    content = {
        "application/json": {"schema": query},
        "multipart/form-data": {"schema": parts, "encoding": encoding},
    }
    return {"required": True, "content": content}


def _batch_body() -> dict[str, Any]:
    parts = {
        "type": "object",
        "additionalProperties": False,
        "required": ["file"],
        "properties": {
            "file": {
                **BINARY,
                "description": "JSON lines: each a query as of `create_query`, without `callback_url`, and if wanted"
                " with an `id` of the client's own, which its answer repeats.",
            },
            "callback_url": {"type": "string", "description": CALLBACK_URL},
        },
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": parts}}}


def _import_body() -> dict[str, Any]:
    parts = {
        "type": "object",
        "additionalProperties": False,
        "required": ["file"],
        "properties": {
            "file": {
                "type": "array",
                "minItems": 1,
                "items": BINARY,
                "description": "Pictures, an archive (.zip, .tar, .tar.gz), a manifest (.csv, .jsonl) and its pictures,"
                " or a list of URLs (.txt).",
            },
            "mode": {"type": "string", "enum": list(MODES), "default": UPSERT},
            "max_delete_share": {"type": "number", "minimum": 0, "maximum": 1},
            "callback_url": {"type": "string", "description": CALLBACK_URL},
        },
    }
    elsewhere = {"schema": {"$ref": _REFERENCES.format(model="ImportIn")}, "examples": _IMPORT_EXAMPLES}
    return {"required": True, "content": {"multipart/form-data": {"schema": parts}, "application/json": elsewhere}}
