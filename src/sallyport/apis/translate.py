"""What all objects of a cluster mean together, in the words of the model."""

from dataclasses import replace

from sallyport.apis.antrea import translate as antrea
from sallyport.apis.calico import translate as calico
from sallyport.apis.objects import Objects
from sallyport.model.state import ClusterState


def translate(objects: Objects) -> ClusterState:
    """The cluster as the planners see it. Never raises on what a user wrote."""
    state = antrea.translate(objects, namespaces_count=calico.by_namespace(objects.calico))
    if not state.enabled:
        if not calico.is_on(objects.calico):
            return state
        state = replace(state, exits={}, pools={}, enabled=True)  # Egresses are switched off, gateways are not
    found = calico.translate(objects.calico, objects.nodes, objects.namespaces, objects.pods)
    return replace(
        state,
        pools={**state.pools, **found.pools},
        exits={**state.exits, **found.exits},
        policies=found.policies,
        chosen=found.chosen,
        external=found.external,
        peerings=found.peerings,
        routing=found.routing,
        tuning=found.tuning,
        problems=tuple(sorted({*state.problems, *found.problems})),
    )
