"""Failures of the API, as the ``Status`` objects that Kubernetes clients understand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

UNSUPPORTED = "is not supported by the embedded control plane, use --control-plane kubernetes"


@dataclass(frozen=True, slots=True)
class Cause:
    """One refused field: its path, the machine-readable reason and the sentence."""

    field: str
    reason: str
    message: str


class StatusError(Exception):
    """A request that failed. ``code`` is the HTTP status, ``reason`` the StatusReason of apimachinery."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> Object:
        """The ``Status`` object sent to the client."""
        answer: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            answer["details"] = self.details
        return answer


def bad_request(message: str) -> StatusError:
    """The request itself makes no sense (400)."""
    return StatusError(400, "BadRequest", message)


def forbidden(qualified: str, name: str, why: str) -> StatusError:
    """The request is understood and refused (403)."""
    return StatusError(403, "Forbidden", f'{qualified} "{name}" is forbidden: {why}', {"name": name})


def not_found(group: str, plural: str, name: str) -> StatusError:
    """No object of that name (404)."""
    details = {"name": name, "group": group, "kind": plural}
    return StatusError(404, "NotFound", f'{qualify(plural, group)} "{name}" not found', details)


def already_exists(group: str, plural: str, name: str) -> StatusError:
    """A create of a name that is taken (409)."""
    details = {"name": name, "group": group, "kind": plural}
    return StatusError(409, "AlreadyExists", f'{qualify(plural, group)} "{name}" already exists', details)


def conflict(group: str, plural: str, name: str, why: str = "") -> StatusError:
    """A write based on an old resourceVersion (409)."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualify(plural, group)} "{name}": {why}'
    return StatusError(409, "Conflict", message, {"name": name, "group": group, "kind": plural})


def expired(message: str) -> StatusError:
    """A resourceVersion or continue token older than the history kept (410)."""
    return StatusError(410, "Expired", message)


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """An object whose fields are refused (422), every refused field named."""
    lines = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    text = lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
    details: Object = {
        "name": name,
        "group": group,
        "kind": kind,
        "causes": [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes],
    }
    return StatusError(422, "Invalid", f'{qualify(kind, group)} "{name}" is invalid: {text}', details)


def unsupported(what: str, code: int = 501) -> StatusError:
    """Something a real API server has and this one does not."""
    reason = {404: "NotFound", 405: "MethodNotAllowed", 415: "UnsupportedMediaType"}.get(code, "NotImplemented")
    return StatusError(code, reason, f"{what} {UNSUPPORTED}")


def qualify(name: str, group: str) -> str:
    """``pods`` or ``egresses.crd.antrea.io``."""
    return f"{name}.{group}" if group else name
