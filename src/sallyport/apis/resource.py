"""What the Kubernetes API needs to know to address one kind of object."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Resource(Generic[T_co]):
    """One kind as served under one version.

    `group` is "" for the core group; `type` is the msgspec Struct that objects are decoded into, holding only
    the fields that we read.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    type: type[T_co]

    @property
    def api_version(self) -> str:
        """The `apiVersion` of an object of this kind, as in a manifest."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection, of one object, or of its subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)
