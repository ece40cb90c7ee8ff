"""What Deployments, ReplicaSets and DaemonSets get filled in, and what is wrong with them (pkg/apis/apps)."""

import re

from sallyport.lab.apiserver import podrules
from sallyport.lab.apiserver.errors import Cause, Object
from sallyport.lab.apiserver.kinds import Resource

_PERCENT = re.compile(r"[0-9]+%")


def fill(resource: Resource, spec: Object) -> None:
    """Kubernetes' defaults, in place."""
    if resource.plural != "daemonsets":
        spec.setdefault("replicas", 1)
    if resource.plural == "deployments":
        strategy = spec.setdefault("strategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        podrules.fill(template["spec"])


def check(resource: Resource, spec: Object, old: Object | None) -> list[Cause]:
    """What is wrong with a workload's spec; `old` is the one that it replaces."""
    causes: list[Cause] = []
    selector, template = spec.get("selector") or {}, spec.get("template") or {}
    if not selector:
        causes.append(podrules.required("spec.selector"))
    if old is not None and old.get("selector") != spec.get("selector"):
        causes.append(Cause("spec.selector", "FieldValueInvalid", f"Invalid value: {selector}: field is immutable"))
    labels = (template.get("metadata") or {}).get("labels") or {}
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        text = "Invalid value: `selector` does not match template `labels`"
        causes.append(Cause("spec.template.metadata.labels", "FieldValueInvalid", text))
    for field in ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        causes += _not_negative(f"spec.{field}", spec.get(field, 0))
    if resource.plural == "deployments":
        causes += _check_strategy(spec.get("strategy") or {})
    pod = template.get("spec") or {}
    if pod.get("restartPolicy", "Always") != "Always":
        text = f'Unsupported value: "{pod["restartPolicy"]}": supported values: "Always"'
        causes.append(Cause("spec.template.spec.restartPolicy", "FieldValueNotSupported", text))
    return causes + podrules.check(pod, None, "spec.template.spec")


def _not_negative(field: str, value: object) -> list[Cause]:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return []
    return [Cause(field, "FieldValueInvalid", f"Invalid value: {value}: must be greater than or equal to 0")]


def _check_strategy(strategy: Object) -> list[Cause]:
    kind, path = strategy.get("type"), "spec.strategy"
    if kind == "Recreate" and strategy.get("rollingUpdate") is not None:
        text = "Forbidden: may not be specified when strategy `type` is 'Recreate'"
        return [Cause(f"{path}.rollingUpdate", "FieldValueForbidden", text)]
    if kind not in ("Recreate", "RollingUpdate"):
        shown = f'{{"Type":"{kind}","RollingUpdate":null}}'
        text = f'Unsupported value: {shown}: supported values: "Recreate", "RollingUpdate"'
        return [Cause(path, "FieldValueNotSupported", text)]
    rolling = strategy.get("rollingUpdate") or {}
    causes: list[Cause] = []
    for field, value in rolling.items():
        if isinstance(value, str) and not _PERCENT.fullmatch(value):
            text = (
                f"Invalid value: \"{value}\": a valid percent string must be a numeric string followed by an ending '%'"
            )
            causes.append(Cause(f"{path}.rollingUpdate.{field}", "FieldValueInvalid", text))
        elif not isinstance(value, str):
            causes += _not_negative(f"{path}.rollingUpdate.{field}", value)
    if rolling and all(rolling.get(field) in (0, "0%") for field in ("maxSurge", "maxUnavailable")):
        text = f"Invalid value: {rolling['maxUnavailable']}: may not be 0 when `maxSurge` is 0"
        causes.append(Cause(f"{path}.rollingUpdate.maxUnavailable", "FieldValueInvalid", text))
    return causes
