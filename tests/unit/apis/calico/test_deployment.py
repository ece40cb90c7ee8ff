"""The Deployment that an EgressGateway becomes."""

import json
from typing import Any

import pytest
from tests.unit.apis.calico.build import gateway, ip_pool

from sallyport.apis.calico.deployment import deployment, has_spare, pools_of, service_account

POOLS = (ip_pool("red-pool", "10.10.10.0/30"), ip_pool("six-pool", "fd00:10::/126"), ip_pool("more", "10.10.11.0/30"))


def made(**spec: Any) -> dict[str, Any]:
    return deployment(gateway(**spec), POOLS, "registry/sallyport:1")


def template(**spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = made(**spec)["spec"]["template"]
    return found


def container(**spec: Any) -> dict[str, Any]:
    (found,) = template(**spec)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(**spec: Any) -> dict[str, str]:
    return {item["name"]: item["value"] for item in container(**spec)["env"] if "value" in item}


def of_pods(**spec: Any) -> dict[str, Any]:
    return {"spec": spec}


def test_it_has_the_gateways_name_and_is_owned_by_it() -> None:
    for item in (made()["metadata"], service_account(gateway())["metadata"]):
        assert (item["name"], item["namespace"]) == ("gw", "default")
        (owner,) = item["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("EgressGateway", "uid-gw", True)


def test_its_pods_are_selected_by_a_label_of_ours_whatever_labels_users_give() -> None:
    mine = {"sallyport.io/gateway": "gw"}
    assert made()["spec"]["selector"] == {"matchLabels": mine}
    assert template()["metadata"]["labels"] == {"projectcalico.org/egw": "gw", **mine}
    own = {"metadata": {"labels": {"code": "red", "sallyport.io/gateway": "other"}}}
    assert template(template=own)["metadata"]["labels"] == {"code": "red", **mine}


@pytest.mark.parametrize("replicas", [0, 1, 3])
def test_there_are_as_many_pods_as_asked_for(replicas: int) -> None:
    assert made(replicas=replicas)["spec"]["replicas"] == replicas


def test_its_pods_say_by_annotation_which_pools_and_networks_they_have() -> None:
    """And users cannot say otherwise."""
    own = {"metadata": {"annotations": {"a": "b", "cni.projectcalico.org/ipv4pools": "[]"}}}
    pools = [{"cidr": "10.10.10.0/30"}, {"name": "six-pool"}, {"name": "more", "cidr": "10.10.11.0/30"}]
    notes = template(ipPools=pools, externalNetworks=["red", "yellow"], template=own)["metadata"]["annotations"]
    assert {key: json.loads(value) for key, value in notes.items() if key != "a"} == {
        "cni.projectcalico.org/ipv4pools": ["red-pool", "more"],
        "cni.projectcalico.org/ipv6pools": ["six-pool"],
        "egress.projectcalico.org/externalNetworkNames": ["red", "yellow"],
    }
    assert notes["a"] == "b"
    assert set(template()["metadata"]["annotations"]) == {"cni.projectcalico.org/ipv4pools"}


def test_a_pool_is_named_by_its_name_or_by_the_very_text_of_its_cidr() -> None:
    def names(*pools: dict[str, str]) -> list[str]:
        return [pool.metadata.name for pool in pools_of(gateway(ipPools=list(pools)), POOLS)]

    assert names({"name": "red-pool"}, {"cidr": "10.10.11.0/30"}) == ["red-pool", "more"]
    assert names({"cidr": "10.10.10.0/31"}, {"name": "none"}) == []


def test_its_pods_need_no_privileges_and_no_rights() -> None:
    pod = template()["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("gw", False)
    security = container()["securityContext"]
    assert security["runAsNonRoot"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_its_health_is_asked_at_a_port_of_that_name() -> None:
    assert container()["ports"] == [{"name": "health", "containerPort": 8080, "protocol": "TCP"}]
    assert container()["readinessProbe"]["httpGet"] == {"path": "/readiness", "port": "health"}
    assert "livenessProbe" not in container()


def test_times_of_probes_are_the_users_and_what_is_asked_is_ours() -> None:
    probe = {"periodSeconds": 7, "httpGet": {"path": "/mine"}, "exec": {"command": ["true"]}}
    own = {"name": "egress-gateway", "readinessProbe": probe, "livenessProbe": {"failureThreshold": 9}}
    found = container(template=of_pods(containers=[own]))
    assert found["readinessProbe"]["periodSeconds"] == 7
    assert found["readinessProbe"]["httpGet"]["path"] == "/readiness"
    assert "exec" not in found["readinessProbe"]
    assert found["livenessProbe"] == {"httpGet": {"path": "/liveness", "port": "health"}, "failureThreshold": 9}


def test_what_a_template_may_say_of_pods_reaches_them() -> None:
    spec = {
        "nodeSelector": {"egress": "true"},
        "tolerations": [{"operator": "Exists"}],
        "topologySpreadConstraints": [{"maxSkew": 1}],
        "priorityClassName": "high",
        "terminationGracePeriodSeconds": 0,
        "affinity": {"nodeAffinity": {"x": 1}},
        "containers": [{"name": "egress-gateway", "resources": {"limits": {"cpu": 1}}}],
    }
    found = template(template=of_pods(**spec))["spec"]
    assert {key: found[key] for key in spec if key != "containers"} == {
        k: v for k, v in spec.items() if k != "containers"
    }
    assert found["containers"][0]["resources"] == {"limits": {"cpu": 1}}


def test_what_is_not_asked_for_is_not_written() -> None:
    """Fields that are applied are ours from then on."""
    assert not {"nodeSelector", "tolerations", "priorityClassName", "terminationGracePeriodSeconds"} & set(
        template()["spec"]
    )
    assert "resources" not in container()


def test_its_pods_are_kept_on_different_nodes_where_that_can_be() -> None:
    (apart,) = template()["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert apart["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert apart["podAffinityTerm"]["labelSelector"] == {"matchLabels": {"sallyport.io/gateway": "gw"}}


def test_how_it_is_probed_reaches_the_gateway_by_its_environment() -> None:
    found = environment(
        logSeverity="Warn",
        egressGatewayFailureDetection={
            "healthTimeoutDataStoreSeconds": 30,
            "icmpProbe": {"ips": ["10.0.0.1", "fd00::1"], "intervalSeconds": 2, "timeoutSeconds": 6},
            "httpProbe": {"urls": ["http://a/", "http://b/"]},
        },
        template=of_pods(terminationGracePeriodSeconds=0),
    )
    assert found == {
        "SALLYPORT_HEALTH_PORT": "8080",
        "SALLYPORT_LOG_SEVERITY": "warn",
        "SALLYPORT_TERMINATION_GRACE": "0",
        "SALLYPORT_HEALTH_TIMEOUT_DATASTORE": "30",
        "SALLYPORT_ICMP_PROBE_IPS": "10.0.0.1,fd00::1",
        "SALLYPORT_ICMP_PROBE_INTERVAL": "2",
        "SALLYPORT_ICMP_PROBE_TIMEOUT": "6",
        "SALLYPORT_HTTP_PROBE_URLS": "http://a/,http://b/",
        "SALLYPORT_HTTP_PROBE_INTERVAL": "10",
        "SALLYPORT_HTTP_PROBE_TIMEOUT": "30",
    }
    assert environment()["SALLYPORT_TERMINATION_GRACE"] == "30"
    assert not [name for name in environment() if "PROBE" in name]


def test_equal_gateways_become_equal_deployments() -> None:
    """So that nothing is applied again."""
    assert made(externalNetworks=["red"]) == made(externalNetworks=["red"]) != made(externalNetworks=["yellow"])


@pytest.mark.parametrize(("replicas", "spare"), [(3, True), (4, False)])
def test_there_is_a_spare_address_where_the_pools_hold_more_than_all_who_name_them_ask_for(
    replicas: int, spare: bool
) -> None:
    alone = gateway(replicas=replicas, ipPools=[{"name": "red-pool"}])
    assert has_spare(alone, [alone], POOLS) is spare
    two = gateway(replicas=2, ipPools=[{"name": "red-pool"}])
    other = gateway("other", replicas=replicas - 2, ipPools=[{"cidr": "10.10.10.0/30"}])
    assert has_spare(two, [two, other], POOLS) is spare
    assert has_spare(two, [two, gateway("other", replicas=9, ipPools=[{"name": "six-pool"}])], POOLS)


def test_without_a_spare_address_one_pod_goes_before_the_next_comes() -> None:
    given = gateway()
    limits = [
        deployment(given, POOLS, "i", spare=spare)["spec"]["strategy"]["rollingUpdate"] for spare in (True, False)
    ]
    assert limits == [{"maxSurge": 1, "maxUnavailable": 0}, {"maxSurge": 0, "maxUnavailable": 1}]
