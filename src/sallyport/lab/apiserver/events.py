"""Events are stored once and served in two shapes: core/v1 and events.k8s.io/v1."""

from sallyport.lab.apiserver.errors import Object

# events.k8s.io/v1 name -> core/v1 name (k8s.io/kubernetes/pkg/apis/events/v1/conversion.go)
_NAMES = {
    "note": "message",
    "regarding": "involvedObject",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}
_BACK = {core: modern for modern, core in _NAMES.items()}


def classic(event: Object) -> Object:
    """An events.k8s.io/v1 Event as core/v1."""
    return {**{_NAMES.get(key, key): value for key, value in event.items()}, "apiVersion": "v1"}


def modern(event: Object) -> Object:
    """A core/v1 Event as events.k8s.io/v1."""
    return {**{_BACK.get(key, key): value for key, value in event.items()}, "apiVersion": "events.k8s.io/v1"}
