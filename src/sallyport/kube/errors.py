"""What the API server, or the way to it, answers instead of what was asked.

Source of codes and reasons: k8s.io/apimachinery/pkg/apis/meta/v1, type Status and its StatusReason constants.
"""

# ruff: noqa: N818  (the names are the API's own reasons)

import re

import msgspec

_OUR_ACCOUNT = re.compile(r'"system:serviceaccount:[^":]+:sallyport-(agent|controller)"')


class ApiError(Exception):
    """A request that failed; `str()` is one line that begins with what was asked.

    `status` is the HTTP code, 0 when no answer came; `reason` is the API's word in CamelCase; `retry_after` is
    the wait in seconds that the server asked for.
    """

    def __init__(
        self, status: int, reason: str, message: str, *, asked: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(f"{asked}: {message}" if asked else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.asked = asked
        self.retry_after = retry_after


class Outage(ApiError):
    """No fault of the request: the server, or the way to it, is in trouble, and any other request would fare alike."""


class Unauthorized(Outage):
    """401: the credentials are not accepted, also not after they were read again."""


class Forbidden(ApiError):
    """403: the text names the verb and the resource that the role lacks, and for an account of ours the manifest that
    grants it."""


class NotFound(ApiError):
    """404: no such object, or no such kind is served."""


class Conflict(ApiError):
    """409: the object changed since it was read, or another field manager owns a field."""


class AlreadyExists(ApiError):
    """409 on create: an object of that name is there."""


class Gone(ApiError):
    """410: the resourceVersion or the continue token is too old; list again."""


class Invalid(ApiError):
    """400 or 422: the object or the request breaks the schema or a validation rule."""


class Throttled(Outage):
    """429: too many requests."""


class Unavailable(Outage):
    """No connection, no answer in time, or 502 to 504 of the server or of what stands before it."""


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""
    code: int = 0
    status: str = ""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: Throttled,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
}


def from_answer(status: int, body: bytes, *, asked: str, retry_after: str | None = None) -> ApiError:
    """The error for an HTTP answer. `body` may be a Status object, or the plain text of some proxy.

    A `status` of 0 takes the code from the body, as in the ERROR event of a watch.
    """
    try:
        said = msgspec.json.decode(body, type=_Status)
    except msgspec.DecodeError:
        said = _Status(message=" ".join(body[:300].decode(errors="replace").split()))
    code = status or said.code
    reason = said.reason or _REASONS.get(code, "Unknown")
    kind = _BY_STATUS.get(code, ApiError)
    if code == 409 and reason == "AlreadyExists":
        kind = AlreadyExists
    try:
        wait = float(retry_after) if retry_after else None
    except ValueError:  # an HTTP date; no API server sends one
        wait = None
    message = said.message or f"HTTP {code} {reason}"
    if code == 403 and (ours := _OUR_ACCOUNT.search(message)):
        message += f"; deploy/rbac/{ours[1]}.yaml grants what is needed: is it applied, and of this version?"
    return kind(code, reason, message, asked=asked, retry_after=wait)
