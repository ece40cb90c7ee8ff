"""Manifests of Calico's kinds: small good ones, and ones that are to be refused, each with the field at fault."""

from typing import Any

Manifest = dict[str, Any]


def manifest(kind: str, name: str = "x", **spec: Any) -> Manifest:
    """An object with this spec; an EgressGateway is in namespace default."""
    version = "operator.tigera.io/v1" if kind == "EgressGateway" else "projectcalico.org/v3"
    metadata = {"name": name} | ({"namespace": "default"} if kind == "EgressGateway" else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def network(index: Any, name: str = "red") -> Manifest:
    return manifest("ExternalNetwork", name, routeTableIndex=index)


def pool(cidr: str = "10.10.10.0/30", **spec: Any) -> Manifest:
    return manifest("IPPool", "red-pool", cidr=cidr, **spec)


def peer(**spec: Any) -> Manifest:
    needed: dict[str, Any] = {"peerIP": "172.31.11.1", "asNumber": 63400}
    return manifest("BGPPeer", **(needed | spec))


def gateway(**spec: Any) -> Manifest:
    return manifest("EgressGateway", **({"ipPools": [{"cidr": "10.10.10.0/30"}]} | spec))


def probing(**probes: Any) -> Manifest:
    return gateway(egressGatewayFailureDetection=probes)


def policy(*rules: Any) -> Manifest:
    return manifest("EgressGatewayPolicy", rules=list(rules))


def rule(cidr: str | None = None, **gateway: Any) -> dict[str, Any]:
    made: dict[str, Any] = {} if cidr is None else {"destination": {"cidr": cidr}}
    return made | ({"gateway": gateway} if gateway else {})


def importing(*rules: Any) -> Manifest:
    return manifest("BGPFilter", importV4=list(rules))


def felix(**spec: Any) -> Manifest:
    return manifest("FelixConfiguration", "default", **spec)


ALL: dict[str, Any] = {"selector": "all()", "namespaceSelector": "all()"}

ACCEPTED: list[Manifest] = [
    network(500),
    network(4294967295),
    pool(blockSize=32, nodeSelector="!all()", natOutgoing=False),
    pool("fd00:10::/122", blockSize=128, disableBGPExport=True, vxlanMode="Always", ipipMode="Never"),
    peer(nodeSelector="egress == 'true'", sourceAddress="None", externalNetwork="red"),
    peer(peerIP="[fd00::1]:1179", asNumber="1.10", reachableBy="fd00::2", ttlSecurity=1, localASNumber="65001"),
    peer(peerIP="fd00::1", reachableBy="fd00::2"),
    peer(node="n1", password={"secretKeyRef": {"name": "s", "key": "k"}}, filters=["f"], keepaliveTime="1m30s"),
    peer(keepOriginalNextHop=True, failureDetectionMode="BFDIfDirectlyConnected", maxRestartTime="10s"),
    peer(keepOriginalNextHop=False, nextHopMode="Self", extensions={"a": "b"}),
    gateway(),
    gateway(ipPools=[{"name": "red-pool"}, {"name": "b", "cidr": "fd00::/122"}], replicas=0, externalNetworks=["red"]),
    gateway(aws={"nativeIP": "Disabled", "elasticIPs": []}),
    gateway(template={"metadata": {"labels": {"egress-code": "red"}}, "spec": {
        "nodeSelector": {"kubernetes.io/os": "linux"}, "terminationGracePeriodSeconds": 0,
        "affinity": {"nodeAffinity": {}}, "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "egress-gateway", "resources": {"limits": {"cpu": 1}}}],
    }}),
    probing(icmpProbe={"ips": ["10.0.0.1", "fd00::1"], "intervalSeconds": 5, "timeoutSeconds": 5}),
    probing(httpProbe={"urls": ["http://10.0.0.1/ready"]}, healthTimeoutDataStoreSeconds=1),
    policy(rule("10.0.0.0/8"), rule("11.0.0.0/8", **ALL, maxNextHops=2), rule(**ALL)),
    policy(rule("fd00::/8"), rule("0.0.0.0/0", **ALL), rule("::/0", **ALL)),
    policy({"gateway": ALL, "gatewayPreference": "PreferNodeLocal", "description": "near"}),
    manifest("BGPFilter"),
    importing({"action": "Reject"}),
    importing({
        "action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 8, "max": 24},
        "communities": {"values": ["65000:1"]}, "peerType": "eBGP", "source": "RemotePeers", "interface": "*.red",
        "operations": [{"addCommunity": {"value": "65000:1:2"}}, {"prependASPath": {"prefix": [65000, "1.10"]}}],
    }),
    manifest("BGPConfiguration", "default", asNumber=64512, listenPort=179, nodeToNodeMeshEnabled=False),
    felix(),
    felix(egressIPSupport="enabledpernamespace", externalNetworkSupport="Enabled", bpfEnabled=True, other={"a": [1]}),
    felix(routeTableRanges=[{"min": 1, "max": 250}, {"min": 1000, "max": 2000}], egressGatewayPollInterval="500ms"),
    felix(egressIPHostIfacePattern=r"ens3,/^ens2[01][.\/](100|200)$/", egressIPRoutingRulePriority=32765),
]  # fmt: skip
"""What upstream takes, and so do we."""

REFUSED: list[tuple[Manifest, str]] = [
    (manifest("ExternalNetwork"), "spec.routeTableIndex"),
    (network(0), "spec.routeTableIndex"),
    (network(253), "spec.routeTableIndex"),
    (network(830_005), "spec.routeTableIndex"),
    (network(255), "spec.routeTableIndex"),
    (network(4294967296), "spec.routeTableIndex"),
    (network("500"), "spec.routeTableIndex"),
    (manifest("IPPool"), "spec.cidr"),
    (pool("10.10.10.0"), "spec.cidr"),
    (pool("10.0.0.0/16", blockSize=19), "spec"),
    (pool(blockSize=33), "spec"),
    (pool(blockSize=29), "spec"),
    (pool("fd00::/112", blockSize=115), "spec"),
    (pool(ipipMode="Always", vxlanMode="CrossSubnet"), "spec"),
    (pool(ipipMode="Sometimes"), "spec.ipipMode"),
    (pool(natOutgoing="true"), "spec.natOutgoing"),
    (manifest("BGPPeer", asNumber=1), "spec.peerIP"),
    (manifest("BGPPeer", peerIP="10.0.0.1"), "spec.asNumber"),
    (peer(asNumber="sixty"), "spec.asNumber"),
    (peer(asNumber=4294967296), "spec.asNumber"),
    (peer(asNumber=1.1), "spec.asNumber"),
    (peer(node="n", nodeSelector="all()"), "spec"),
    (peer(keepOriginalNextHop=True, nextHopMode="Auto"), "spec"),
    (peer(reachableBy="fd00::1"), "spec"),
    (peer(peerIP="fd00::1", reachableBy="10.0.0.1"), "spec"),
    (peer(peerIP="10.0.0.1:179", reachableBy="fd00::1"), "spec"),
    (peer(peerSelector="all()"), "spec.peerSelector"),
    (peer(localWorkloadSelector="all()"), "spec.localWorkloadSelector"),
    (peer(network="blue"), "spec.network"),
    (peer(sourceAddress="Any"), "spec.sourceAddress"),
    (peer(password={"secretKeyRef": {"name": "s"}}), "spec.password.secretKeyRef.key"),
    (peer(keepaliveTime="soon"), "spec.keepaliveTime"),
    (peer(ttlSecurity=256), "spec.ttlSecurity"),
    (manifest("EgressGateway"), "spec.ipPools"),
    (gateway(ipPools=[]), "spec.ipPools"),
    (gateway(ipPools=[{}]), "spec.ipPools[0]"),
    (gateway(replicas=-1), "spec.replicas"),
    (gateway(logSeverity="Loud"), "spec.logSeverity"),
    (gateway(aws={"nativeIP": "Enabled"}), "spec.aws.nativeIP"),
    (gateway(aws={"elasticIPs": ["10.0.0.1"]}), "spec.aws.elasticIPs"),
    (gateway(template={"spec": {"nodeSelector": {"egress": True}}}), "spec.template.spec.nodeSelector.egress"),
    (gateway(template={"spec": {"containers": [{"name": "sidecar"}]}}), "spec.template.spec.containers[0].name"),
    (gateway(template={"spec": {"terminationGracePeriodSeconds": -1}}),
     "spec.template.spec.terminationGracePeriodSeconds"),
    (probing(), "spec.egressGatewayFailureDetection"),
    (probing(healthTimeoutDataStoreSeconds=30), "spec.egressGatewayFailureDetection"),
    (probing(icmpProbe={"ips": ["10.0.0.1"]}, healthTimeoutDataStoreSeconds=0),
     "spec.egressGatewayFailureDetection.healthTimeoutDataStoreSeconds"),
    (probing(icmpProbe={}), "spec.egressGatewayFailureDetection.icmpProbe.ips"),
    (probing(icmpProbe={"ips": []}), "spec.egressGatewayFailureDetection.icmpProbe.ips"),
    (probing(icmpProbe={"ips": ["router"]}), "spec.egressGatewayFailureDetection.icmpProbe.ips[0]"),
    (probing(icmpProbe={"ips": ["10.0.0.1"], "intervalSeconds": 16}), "spec.egressGatewayFailureDetection.icmpProbe"),
    (probing(icmpProbe={"ips": ["10.0.0.1"], "timeoutSeconds": 4}), "spec.egressGatewayFailureDetection.icmpProbe"),
    (probing(httpProbe={"urls": ["http://a"], "intervalSeconds": 31}), "spec.egressGatewayFailureDetection.httpProbe"),
    (probing(httpProbe={"urls": ["ftp://a"]}), "spec.egressGatewayFailureDetection.httpProbe.urls[0]"),
    (manifest("EgressGatewayPolicy"), "spec.rules"),
    (policy(), "spec.rules"),
    (policy({}), "spec.rules"),
    (policy({"description": "nothing"}), "spec.rules"),
    (policy(rule("10.0.0.0/8"), rule("10.0.0.0/8", **ALL)), "spec.rules"),
    (policy(rule(**ALL), rule(**ALL)), "spec.rules"),
    (policy(rule("10.0.0.0"), rule(**ALL)), "spec.rules[0].destination.cidr"),
    (policy({"destination": {}, "gateway": ALL}), "spec.rules[0].destination.cidr"),
    (policy(rule(selector="all()")), "spec.rules[0].gateway.namespaceSelector"),
    (policy(rule(selector="", namespaceSelector="all()")), "spec.rules[0].gateway.selector"),
    (policy(rule(**ALL, maxNextHops=-1)), "spec.rules[0].gateway.maxNextHops"),
    (policy(rule(**ALL, maxNextHops="1")), "spec.rules[0].gateway.maxNextHops"),
    (policy({"gateway": ALL, "gatewayPreference": "Near"}), "spec.rules[0].gatewayPreference"),
    (importing({}), "spec.importV4[0].action"),
    (importing({"action": "Accept", "cidr": "10.0.0.0/8"}), "spec.importV4[0]"),
    (importing({"action": "Accept", "matchOperator": "In"}), "spec.importV4[0]"),
    (importing({"action": "Accept", "prefixLength": {"min": 8}}), "spec.importV4[0]"),
    (importing({"action": "Reject", "operations": [{"addCommunity": {"value": "1:1"}}]}), "spec.importV4[0]"),
    (importing({"action": "Accept", "operations": [{}]}), "spec.importV4[0].operations[0]"),
    (importing({"action": "Accept", "operations": [
        {"addCommunity": {"value": "1:1"}, "setPriority": {"value": 1}}]}), "spec.importV4[0].operations[0]"),
    (importing({"action": "Accept", "asPathPrefix": [1]}), "spec.importV4[0].asPathPrefix"),
    (importing({"action": "Accept", "communities": {"values": ["1:1", "1:2"]}}),
     "spec.importV4[0].communities.values"),
    (manifest("BGPConfiguration", listenPort=0), "spec.listenPort"),
    (felix(egressIPSupport="On"), "spec.egressIPSupport"),
    (felix(externalNetworkSupport="true"), "spec.externalNetworkSupport"),
    (felix(egressIPRoutingRulePriority=32766), "spec.egressIPRoutingRulePriority"),
    (felix(egressGatewayPollInterval="10"), "spec.egressGatewayPollInterval"),
    (felix(egressGatewayPollFailureCount=0), "spec.egressGatewayPollFailureCount"),
    (felix(routeTableRanges=[{"min": 2, "max": 1}]), "spec.routeTableRanges[0]"),
    (felix(routeTableRanges=[{"min": 0, "max": 1}]), "spec.routeTableRanges[0].min"),
    (felix(routeTableRanges=[{"min": 1, "max": 65536}]), "spec.routeTableRanges"),
    (felix(routeTableRange={"min": 1, "max": 250}, routeTableRanges=[{"min": 1, "max": 2}]), "spec"),
    (felix(routeTableRange={"min": 1, "max": 251}), "spec.routeTableRange.max"),
]  # fmt: skip
"""What the API server refuses, by schema or rule, and the field that it names."""
