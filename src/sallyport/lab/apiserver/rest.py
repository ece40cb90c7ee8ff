"""Create, read, write and delete: the rules of the API, over the store."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sallyport.lab.apiserver import apply, defaults, events, metadata, patch, schema, validation
from sallyport.lab.apiserver.errors import (
    Cause,
    Object,
    StatusError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    unsupported,
)
from sallyport.lab.apiserver.kinds import CRDS, Registry, Resource
from sallyport.lab.apiserver.metadata import Source
from sallyport.lab.apiserver.store import Key, Store

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
VALIDATOR = "validate.sallyport.io"
Review = Callable[[str, str, Object, Object | None], list[str]]
"""Group, kind, new object, the one it replaces (None: created) to refusals in words, none for "accepted"."""
_CONDITIONAL = (CRDS, "leases.coordination.k8s.io")  # built-in kinds that refuse a PUT without a resourceVersion


@dataclass(frozen=True, slots=True)
class Options:
    """What a write carries beside the object. ``unknown`` is fieldValidation: Ignore, Warn or Strict."""

    manager: str = "unknown"
    dry_run: bool = False
    unknown: str = "Warn"
    subresource: str = ""
    force: bool = False
    warn: Callable[[str], None] = lambda _text: None


class Rest:
    """The verbs of the API. Objects handed out are presented in the version asked for, and not to be changed."""

    def __init__(self, registry: Registry, store: Store, source: Source) -> None:
        self.registry = registry
        self.store = store
        self.source = source
        self.review: Review | None = None

    def key(self, resource: Resource, namespace: str, name: str) -> Key:
        """The store's key of an object."""
        return (namespace if resource.namespaced else "", name)

    def present(self, resource: Resource, obj: Object) -> Object:
        """A stored object as the version asked for shows it."""
        if resource.group == "events.k8s.io":
            return events.modern(obj)
        if obj.get("apiVersion") == resource.api_version and obj.get("kind") == resource.kind:
            return obj
        return {**obj, "apiVersion": resource.api_version, "kind": resource.kind}

    def stored(self, resource: Resource, namespace: str, name: str) -> Object:
        """The stored object. Raises 404."""
        found = self.store.get(resource.store, self.key(resource, namespace, name))
        if found is None:
            raise not_found(resource.group, resource.plural, name)
        return found

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """One object. Raises 404."""
        return self.present(resource, self.stored(resource, namespace, name))

    def _accept(self, resource: Resource, namespace: str, obj: Any) -> Object:
        """A private copy of a client's object, of the right type and namespace."""
        if not isinstance(obj, dict):
            raise bad_request("the body of the request is not an object")
        for field, want in (("kind", resource.kind), ("apiVersion", resource.api_version)):
            if obj.get(field, want) != want:
                raise bad_request(f"the object provided is unrecognized: {field} is {obj[field]!r}, expected {want!r}")
        new: Object = {"apiVersion": resource.api_version, "kind": resource.kind, **copy.deepcopy(obj)}
        meta = new.get("metadata") or {}
        metadata.check_types(meta)
        new["metadata"] = meta
        if resource.namespaced:
            if meta.setdefault("namespace", namespace) not in (namespace, ""):
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            meta["namespace"] = namespace
        else:
            meta.pop("namespace", None)
        return events.classic(new) if resource.group == "events.k8s.io" else new

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        found = self.store.get("namespaces", ("", namespace))
        if found is None:
            raise not_found("", "namespaces", namespace)
        if found["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden(resource.qualified, name, why)

    def create(self, resource: Resource, namespace: str, obj: Any, options: Options) -> Object:
        """Create an object. Raises 404 for its namespace, 409 for a name taken, 422 for what the schema refuses."""
        new = self._accept(resource, namespace, obj)
        if new["metadata"].get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        metadata.begin(new["metadata"], resource, self.source)
        name = new["metadata"].get("name", "")
        if not name:
            missing = Cause("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")
            raise invalid(resource.group, resource.kind, "", [missing])
        self._check_namespace(resource, namespace, name)
        key = self.key(resource, namespace, name)
        if self.store.get(resource.store, key) is not None:
            raise already_exists(resource.group, resource.plural, name)
        defaults.on_create(resource, new)
        self._admit(resource, new, None, options)
        new["metadata"].pop("managedFields", None)
        apply.track(resource, None, new, options.manager, options.subresource, self.source.stamp())
        return self._commit(resource, key, new, options)

    def _admit(self, resource: Resource, new: Object, old: Object | None, options: Options) -> None:
        """Prune, default and validate in place. Raises 400 for unknown fields if strict, 422 for refused ones."""
        name = new["metadata"].get("name", "")
        dropped = metadata.prune(new["metadata"])
        if resource.custom:
            dropped += schema.prune(resource.schema, new)
        else:
            dropped += defaults.prune(resource, new)
        _report(resource, dropped, options)
        if resource.custom:
            schema.default(resource.schema, new)
            causes = validation.validate(resource, new, old)
        else:
            try:
                defaults.fill(resource, new)
                causes = defaults.check(resource, new, old)
            except (AttributeError, TypeError) as err:  # the built-in kinds have no schema: a field of the wrong type
                raise bad_request(f"{resource.kind} cannot be handled: a field is of the wrong type: {err}") from err
        causes = metadata.check(resource, new) + causes
        if causes:
            raise invalid(resource.group, resource.kind, name, causes)
        metadata.tidy(new["metadata"])
        if options.subresource == "":
            self._review(resource, new, old)

    def _review(self, resource: Resource, new: Object, old: Object | None) -> None:
        """Ask the validator as an admission webhook is asked; what it refuses is 400, in a webhook's words."""
        faults = self.review(resource.group, resource.kind, new, old) if self.review else []
        if faults:
            text = f'admission webhook "{VALIDATOR}" denied the request: ' + "; ".join(faults)
            raise StatusError(400, "BadRequest", text)

    def update(self, resource: Resource, namespace: str, name: str, obj: Any, options: Options) -> Object:
        """Replace an object, or its status. Raises 404, 409 for an old resourceVersion, 422."""
        old = self.stored(resource, namespace, name)
        new = self._accept(resource, namespace, obj)
        if new["metadata"].setdefault("name", name) != name:
            raise bad_request(
                f"the name of the object ({new['metadata']['name']}) does not match the name on the URL ({name})"
            )
        if (resource.custom or resource.store in _CONDITIONAL) and not new["metadata"].get("resourceVersion"):
            text = "Invalid value: 0x0: must be specified for an update"
            cause = Cause("metadata.resourceVersion", "FieldValueInvalid", text)
            raise invalid(resource.group, resource.kind, name, [cause])
        return self._replace(resource, old, new, options)

    def _replace(self, resource: Resource, old: Object, new: Object, options: Options, applied: bool = False) -> Object:
        meta = new["metadata"]
        name = old["metadata"]["name"]
        wanted = meta.get("resourceVersion")
        if wanted and wanted != old["metadata"]["resourceVersion"]:
            raise conflict(resource.group, resource.plural, name)
        if meta.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            raise conflict(resource.group, resource.plural, name, "the UID in the precondition does not match")
        new = self._confine(resource, old, new, options)
        metadata.carry(new, old)
        _check_finalizers(resource, old, new)
        self._admit(resource, new, old, options)
        if not applied:
            apply.track(resource, old, new, options.manager, options.subresource, self.source.stamp())
        if (
            resource.generation
            and options.subresource != "status"
            and _content(resource, old) != _content(resource, new)
        ):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if _same(old, new):
            return self.present(resource, old)
        return self._commit(resource, self.key(resource, meta.get("namespace", ""), name), new, options)

    def _confine(self, resource: Resource, old: Object, new: Object, options: Options) -> Object:
        """Keep a write to status out of the rest, and the other way round."""
        if options.subresource == "status":
            kept = {**copy.deepcopy(old), "apiVersion": new["apiVersion"]}
            if "managedFields" in new["metadata"]:
                kept["metadata"]["managedFields"] = new["metadata"]["managedFields"]
            kept.pop("status", None)
            if "status" in new:
                kept["status"] = new["status"]
            return kept
        if resource.has_status and options.subresource == "":
            new.pop("status", None)
            if "status" in old:
                new["status"] = copy.deepcopy(old["status"])
        return new

    def _commit(self, resource: Resource, key: Key, new: Object, options: Options) -> Object:
        if options.dry_run:
            return self.present(resource, new)
        meta = new["metadata"]
        held = meta.get("finalizers") or meta.get("deletionGracePeriodSeconds") or resource.store == "namespaces"
        if meta.get("deletionTimestamp") and not held and self.store.get(resource.store, key) is not None:
            self.store.put(resource.store, key, new)
            return self.present(resource, self._remove(resource, key))
        if resource.store == CRDS:
            self._establish(new)
        return self.present(resource, self.store.put(resource.store, key, new))

    def _remove(self, resource: Resource, key: Key) -> Object:
        if resource.store == CRDS:
            self._undefine(key)
        return self.store.remove(resource.store, key)

    def patch(
        self, resource: Resource, namespace: str, name: str, media: str, body: Any, options: Options
    ) -> tuple[Object, bool]:
        """Patch an object; server-side apply creates it if need be (then the second value is True)."""
        if media == APPLY:
            return self._apply(resource, namespace, name, body, options)
        old = self.stored(resource, namespace, name)
        shown = self.present(resource, old)
        if media == MERGE:
            new = patch.merge(shown, body)
        elif media == JSON:
            new = patch.json_patch(shown, body)
        elif media == STRATEGIC and resource.custom:
            raise unsupported(
                "the body of the request was in an unknown format: strategic merge patch of a custom resource", 415
            )
        elif media == STRATEGIC:
            new = patch.strategic(shown, body)
        else:
            raise unsupported(f"the patch type {media!r}", 415)
        new = self._accept(resource, namespace, new)
        if new["metadata"].get("name") != name:
            raise bad_request("metadata.name cannot be changed by a patch")
        return self._replace(resource, old, new, options), False

    def _apply(self, resource: Resource, namespace: str, name: str, body: Any, options: Options) -> tuple[Object, bool]:
        wanted = self._accept(resource, namespace, body)
        wanted["metadata"].setdefault("name", name)
        if wanted["metadata"].get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        old = self.store.get(resource.store, self.key(resource, namespace, name))
        if old is None:
            if options.subresource:
                raise not_found(resource.group, resource.plural, name)
            metadata.begin(wanted["metadata"], resource, self.source)
            self._check_namespace(resource, namespace, name)
            defaults.on_create(resource, wanted)
            fields = apply.fields_of(resource, wanted)
            self._admit(resource, wanted, None, options)
            apply.own(resource, wanted, fields, options.manager, options.subresource, self.source.stamp())
            return self._commit(resource, self.key(resource, namespace, name), wanted, options), True
        now = self.source.stamp()
        new = apply.merge(
            resource, self.present(resource, old), wanted, options.manager, options.force, options.subresource, now
        )
        return self._replace(resource, old, new, options, applied=True), False

    def _establish(self, crd: Object) -> None:
        """Serve a CRD and say so in its status."""
        spec = crd["spec"]
        names = spec["names"]
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")
        now = self.source.stamp()
        known = {entry["type"]: entry for entry in (crd.get("status") or {}).get("conditions") or ()}
        for kind, reason, text in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ):
            known.setdefault(
                kind, {"type": kind, "status": "True", "reason": reason, "message": text, "lastTransitionTime": now}
            )
        stored = [version["name"] for version in spec["versions"] if version.get("storage")]
        crd["status"] = {"acceptedNames": names, "conditions": list(known.values()), "storedVersions": stored}
        self.registry.define(crd)

    def _undefine(self, key: Key) -> None:
        """Stop serving a CRD and drop its objects."""
        bucket = key[1]
        for found in self.store.keys(bucket):
            self.store.remove(bucket, found)
        self.registry.forget(bucket)

    def delete(self, resource: Resource, namespace: str, name: str, wish: Object) -> Object:
        """Delete, or begin to: finalizers, a pod's grace period and a namespace's content come first.

        ``wish`` is a DeleteOptions. Answers the object if it stays for now, else its last state.
        """
        old = self.stored(resource, namespace, name)
        meta = old["metadata"]
        preconditions = wish.get("preconditions") or {}
        for field, text in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            if preconditions.get(field, meta[field]) != meta[field]:
                why = (
                    f"the {text} in the precondition ({preconditions[field]}) does not match "
                    f"the {text} in record ({meta[field]})"
                )
                raise conflict(resource.group, resource.plural, name, why)
        key = self.key(resource, namespace, name)
        if wish.get("dryRun"):
            return self.present(resource, old)
        grace = _grace(resource, old, wish)
        if not meta.get("finalizers") and grace == 0 and resource.store != "namespaces":
            return self.present(resource, self._remove(resource, key))
        if meta.get("deletionTimestamp") and grace >= meta.get("deletionGracePeriodSeconds", 0):
            return self.present(resource, old)
        new = copy.deepcopy(old)
        new["metadata"]["deletionTimestamp"] = metadata.later(self.source.now(), grace)
        new["metadata"]["deletionGracePeriodSeconds"] = grace
        if resource.generation:
            new["metadata"]["generation"] = meta.get("generation", 0) + 1
        if resource.store == "namespaces":
            new["metadata"].pop("deletionGracePeriodSeconds")
            new["status"] = {**(new.get("status") or {}), "phase": "Terminating"}
        return self.present(resource, self.store.put(resource.store, key, new))

    def bind(self, namespace: str, name: str, binding: Object) -> None:
        """Put a pod on a node, as a scheduler does. Raises 404, and 409 if it is on one already."""
        pods = self.registry.find("", "v1", "pods")
        assert pods is not None
        old = self.stored(pods, namespace, name)
        node = (binding.get("target") or {}).get("name")
        if not node:
            raise bad_request("target.name of a binding is required")
        if (old.get("spec") or {}).get("nodeName"):
            raise conflict("", "pods", name, f'pod {name} is already assigned to node "{old["spec"]["nodeName"]}"')
        new = copy.deepcopy(old)
        new["spec"]["nodeName"] = node
        conditions = [c for c in (new.get("status") or {}).get("conditions") or () if c.get("type") != "PodScheduled"]
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": self.source.stamp()}
        new["status"] = {**(new.get("status") or {}), "conditions": [*conditions, scheduled]}
        self.store.put("pods", (namespace, name), new)


def _report(resource: Resource, dropped: list[str], options: Options) -> None:
    """Refuse or warn about unknown fields, as fieldValidation asks."""
    unknown = [f'unknown field "{field}"' for field in dropped]
    if unknown and options.unknown == "Strict":
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f"strict decoding error: {', '.join(unknown)}"
        )
    if options.unknown == "Warn":
        for text in unknown:
            options.warn(text)


def _content(resource: Resource, obj: Object) -> Object:
    hidden = ("metadata", "apiVersion", "kind", "status") if resource.has_status else ("metadata", "apiVersion", "kind")
    return {key: value for key, value in obj.items() if key not in hidden}


def _same(old: Object, new: Object) -> bool:
    """Whether a write changes nothing; the times in managedFields do not count."""

    def bare(obj: Object) -> Object:
        return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}

    def owners(obj: Object) -> list[Object]:
        found = obj["metadata"].get("managedFields") or ()
        return [{k: v for k, v in entry.items() if k != "time"} for entry in found]

    return bare(old) == bare(new) and owners(old) == owners(new)


def _check_finalizers(resource: Resource, old: Object, new: Object) -> None:
    if not old["metadata"].get("deletionTimestamp"):
        return
    added = set(new["metadata"].get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
    if added:
        text = "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
        cause = Cause("metadata.finalizers", "FieldValueForbidden", text + str(sorted(added)))
        raise invalid(resource.group, resource.kind, old["metadata"]["name"], [cause])


def _grace(resource: Resource, obj: Object, wish: Object) -> int:
    """Seconds of grace: only a pod that runs on a node has any."""
    if resource.store != "pods":
        return 0
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    asked = wish.get("gracePeriodSeconds")
    return int(spec.get("terminationGracePeriodSeconds", 30) if asked is None else asked)
