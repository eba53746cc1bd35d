"""The one hierarchy of errors. `api/errors.py` maps it to HTTP; workers map it to item and job outcomes."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field: a JSON pointer into the request and what to change there."""

    pointer: str
    detail: str


class ServiceError(Exception):
    """Base of every error that a client may see. `detail` says what to do next and never quotes a driver."""

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidInputError(ServiceError):
    """The request is well-formed but a value in it is not acceptable."""

    code = "invalid_input"
    title = "Invalid input"

    def __init__(self, detail: str, *, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.errors = errors


class UnauthenticatedError(ServiceError):
    """No API key, or one that we do not know."""

    code = "unauthenticated"
    title = "Authentication needed"


class ForbiddenError(ServiceError):
    """The API key lacks the scope that this call needs."""

    code = "forbidden"
    title = "Not allowed"


class NotFoundError(ServiceError):
    """The object does not exist, or belongs to another tenant."""

    code = "not_found"
    title = "Not found"


class ConflictError(ServiceError):
    """The request contradicts the present state."""

    code = "conflict"
    title = "Conflict"


class PreconditionFailedError(ServiceError):
    """`If-Match` names a version that is no longer the current one."""

    code = "precondition_failed"
    title = "Changed meanwhile"


class IdempotencyKeyReusedError(ServiceError):
    """An Idempotency-Key came again with another request body."""

    code = "idempotency_key_reused"
    title = "Idempotency-Key reused"


class TooLargeError(ServiceError):
    """The body, file or picture exceeds a configured bound."""

    code = "too_large"
    title = "Too large"


class UnsupportedMediaTypeError(ServiceError):
    """The body's media type is none that this call takes."""

    code = "unsupported_media_type"
    title = "Unsupported media type"


class UnavailableError(ServiceError):
    """A dependency (Postgres, Redis, S3) does not answer; the same call may succeed later."""

    code = "unavailable"
    title = "Temporarily unavailable"


class RateLimitedError(ServiceError):
    """The API key has sent more requests than it may; the same call goes through after `retry_after_s` seconds."""

    code = "rate_limited"
    title = "Too many requests"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class ModelLoadError(ServiceError):
    """A model spec cannot be loaded completely (missing, unlisted, or weights that do not fit)."""

    code = "model_load_failed"
    title = "Model cannot be loaded"


class EncoderMismatchError(ServiceError):
    """Vectors of one encoder would meet vectors of another."""

    code = "encoder_mismatch"
    title = "Encoder mismatch"


class ItemError(ServiceError):
    """One item of a job fails with `item_code`; the rest of its batch goes on."""

    code = "item_failed"
    title = "Item failed"

    def __init__(self, item_code: str, detail: str) -> None:
        super().__init__(detail)
        self.item_code = item_code


class TemporaryItemError(ItemError):
    """An item that fails for a passing reason: the same may go through later, after `retry_after_s` if that is known.

    `attempted` is False when it was not even tried, because others were before it.
    """

    def __init__(
        self, item_code: str, detail: str, *, retry_after_s: float | None = None, attempted: bool = True
    ) -> None:
        super().__init__(item_code, detail)
        self.retry_after_s = retry_after_s
        self.attempted = attempted


class MirrorGuardError(ServiceError):
    """A mirror import would remove more than it was allowed to, or does not know what it would remove."""

    code = "mirror_guard"
    title = "Mirror import stopped by its guard"


class IndexCheckError(ServiceError):
    """A new index did not pass the check that it has to pass before it answers queries."""

    code = "index_check_failed"
    title = "The index did not pass its check"


class LeaseLostError(ServiceError):
    """The unit belongs to another worker by now; whoever sees this stops and writes nothing."""

    code = "lease_lost"
    title = "Lease lost"
