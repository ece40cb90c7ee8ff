"""What a BGPPeer of an external network may ask for, against routers that are somebody else's: passwords, an AS of our
own, TTL security, filters; and strict reverse-path filtering on the links to them.

Every test goes on while a client of red asks all the time: what concerns one peer must not disturb the others.
"""

from collections.abc import Iterator

import pytest
from tests.lab.manifests import STANDING, bgp, password, peer, pool, route_filter
from tests.lab.scene import Side, becomes
from tests.lab.wires import AS, BOTH, LINK, POOLS, SHARED, TABLES, Networks, standing_peer

from sallyport.lab.driving import until
from sallyport.lab.router import Session, sessions

pytestmark = [pytest.mark.lab, pytest.mark.root]

SECOND = "172.31.11.2"
"""The second router of red, whose password is `secret`."""
KEY = {"secretKeyRef": {"name": "second", "key": "password"}}


@pytest.fixture
def calm(net: Networks) -> Iterator[Networks]:
    """The lab, in which red's client loses no request and none goes astray while the test runs."""
    allowed = net.served("red", "yellow")
    with net.on_wires(**allowed, **{"red-two": allowed["red"]}), net.undisturbed("red/app", "yellow/app"):
        yield net


def seen_by(net: Networks, router: str) -> set[Session]:
    """The sessions that a router has."""
    return set(sessions(net.lab.record, router))


def both_nodes(asn: int) -> set[Session]:
    """Sessions of the two nodes over red's link, as their router sees them."""
    return {Session(f"{LINK['red'][1]}{number}", asn, "Established") for number in (102, 103)}


def test_a_password_comes_from_a_secret_and_may_be_changed(calm: Networks) -> None:
    """With the router's password the session comes up, with another one it ends and does not come back, and with the
    right one again it does: each change of the Secret is enough. Nothing shows the password."""
    calm.apply(password("second", "secret"), peer("red-two", SECOND, AS["red"], "red", password=KEY))
    becomes(lambda: calm.of_peer("red-two"), ("True", "Established"), 10)
    calm.apply(password("second", "wrong"))
    becomes(lambda: calm.of_peer("red-two"), ("False", "NotEstablished"), 10)
    assert not seen_by(calm, "red-two") & both_nodes(64512)
    calm.apply(password("second", "secret"))
    becomes(lambda: seen_by(calm, "red-two"), both_nodes(64512), 15)
    config = calm.lab.record.runtime("node-2") / "bird.conf"
    assert config.stat().st_mode & 0o077 == 0
    assert "secret" not in calm.lab.record.log("agent-node-2").read_text()


def test_a_second_router_of_a_network_takes_over_from_the_first(net: Networks) -> None:
    """With both up, the first one's end costs no more than the moment until it is noticed; requests go on by the
    second, and never by another network."""
    net.apply(password("second", "secret"), peer("red-two", SECOND, AS["red"], "red", password=KEY))
    becomes(lambda: net.of_peer("red-two"), ("True", "Established"), 10)
    served = net.served("red")
    with net.on_wires(**served, **{"red-two": served["red"]}), net.asking("red/app"):
        net.command("stop", "red-router")
        try:
            until(lambda: net.hops("node-2", 4, 500, SHARED[4]) == {(SECOND, "eth1")}, "the second router's route", 3)
            with net.on_wires(**{"red-two": served["red"]}):
                assert net.lab.ask("red/app", "http", "105.8.10.1").source in served["red"]
        finally:
            net.command("start", "red-router")


def test_an_as_of_our_own_for_one_peer(calm: Networks) -> None:
    """localASNumber is what that router alone sees of us; the others go on seeing the cluster's."""
    calm.apply(password("second", "secret"))
    calm.apply(peer("red-two", SECOND, AS["red"], "red", password=KEY, localASNumber=64999))
    becomes(lambda: seen_by(calm, "red-two"), both_nodes(64999), 10)
    assert both_nodes(64512) <= seen_by(calm, "red-router")


def test_the_as_of_the_cluster_is_what_routers_see_and_may_be_changed(net: Networks) -> None:
    """asNumber of BGPConfiguration default, edited while sessions are up: they begin anew with it, and nothing goes
    astray meanwhile; without the object it is 64512 again."""
    with net.on_wires(**net.served("red", "yellow")), net.asking("red/app"):
        net.apply(bgp(64900))
        try:
            until(lambda: both_nodes(64900) <= seen_by(net, "red-router"), "the new number is seen", 20)
        finally:
            net.delete("bgpconfiguration", "default")
        until(lambda: both_nodes(64512) <= seen_by(net, "red-router"), "the usual number is seen", 20)


def test_ttl_security_refuses_a_router_that_does_not_send_the_full_ttl(calm: Networks) -> None:
    """The lab's routers send with TTL 1 (RFC 5082): within one hop that may come from anywhere, so there is no session;
    within 255 it is let through."""
    calm.apply(password("second", "secret"))
    calm.apply(peer("red-two", SECOND, AS["red"], "red", password=KEY, ttlSecurity=255))
    becomes(lambda: calm.of_peer("red-two"), ("True", "Established"), 10)
    calm.apply(peer("red-two", SECOND, AS["red"], "red", password=KEY, ttlSecurity=1))
    becomes(lambda: calm.of_peer("red-two"), ("False", "NotEstablished"), 10)


FAR: dict[int, tuple[str, str]] = {4: ("10.66.0.2", SECOND), 6: ("fd66::2", "fd31:11::2")}
"""An address of the second router that is on no link, and the one by which it is reached."""


@pytest.mark.parametrize("way", ["reachableBy", "by hand"])
def test_a_router_beyond_the_link_is_reached_by_its_networks_table(net: Networks, both: Side, way: str) -> None:
    """Be the way to it named by the peer, or put into the network's table by hand: of the main table, only the way to
    the internet leads there. The session comes up, and its routes lead over the link, beside the first router's."""
    (far, near), family = FAR[both.family], both.family
    length, extra = (128, ["nodad"]) if family == 6 else (32, [])
    net.lab.execute("red-two", "ip", "address", "add", f"{far}/{length}", "dev", "lo", *extra)
    nodes = ("node-2", "node-3") if way == "by hand" else ()
    route = ("ip", f"-{family}", "route", "replace", far, "via", near, "dev", "eth1", "table", str(TABLES["red"]))
    by = "" if nodes else near
    try:
        for node in nodes:
            net.lab.execute(node, *route)
        net.apply(password("second", "secret"), peer("red-far", far, AS["red"], "red", password=KEY, reachableBy=by))
        becomes(lambda: net.of_peer("red-far"), ("True", "Established"), 15)
        until(lambda: len(net.hops("node-2", family, TABLES["red"], SHARED[family])) == 2, "it is a next hop, too")
        assert {device for _, device in net.hops("node-2", family, TABLES["red"], SHARED[family])} == {"eth1"}
        net.delete("bgppeer", "red-far")
        until(lambda: far not in net.lab.execute("node-2", "ip", f"-{family}", "rule"), "its rule has gone")
    finally:
        for node in nodes:
            net.lab.execute(node, "ip", f"-{family}", "route", "del", far, "table", str(TABLES["red"]))
        net.lab.execute("red-two", "ip", "address", "del", f"{far}/{length}", "dev", "lo")


def test_filters_decide_what_is_learned_and_what_is_told(net: Networks) -> None:
    """A BGPFilter's import keeps a prefix out of the table, its export keeps the gateways' addresses from the router;
    the session goes on with both, and without the filter both are back."""
    served, since = net.served("red", "yellow"), seen_by(net, "red-router")
    office, learned = "198.51.100.0/25", {name: net.address(name, 4) for name in ("red", "either")}
    net.apply(
        route_filter("narrow", importV4=[{"action": "Reject", "matchOperator": "Equal", "cidr": office}]),
        route_filter(
            "quiet",
            exportV4=[{"action": "Reject", "matchOperator": "In", "cidr": f"{learned['either']}/32"}],
        ),
    )
    with net.on_wires(**served), net.undisturbed("red/app", "yellow/app"):
        net.apply(standing_peer("red", 4, filters=["narrow", "quiet"]))
        until(lambda: office not in net.routes("node-2", 4, TABLES["red"]), "the prefix is gone")
        until(lambda: not net.hops("red-router", 4, "main", f"{learned['either']}"), "the address is not told")
        assert SHARED[4] in net.routes("node-2", 4, TABLES["red"])
        assert net.hops("red-router", 4, "main", learned["red"])
        assert seen_by(net, "red-router") == since
        net.apply(standing_peer("red", 4))
        until(lambda: office in net.routes("node-2", 4, TABLES["red"]), "the prefix is back")
        until(lambda: bool(net.hops("red-router", 4, "main", learned["either"])), "the address is told")


def test_addresses_of_a_pool_that_is_not_to_be_exported_are_told_to_no_router(net: Networks) -> None:
    """disableBGPExport takes a gateway's address from the routers of its networks, and giving it up brings it back."""
    addresses = {name: net.address(name, 4) for name in ("red", "either", "open")}

    def known() -> set[tuple[str, str]]:
        pairs = [(router, name) for router in ("red-router", "yellow-router", "router") for name in addresses]
        return {(router, name) for router, name in pairs if net.hops(router, 4, "main", addresses[name])}

    before = known()
    assert {name for _, name in before} == set(addresses)
    net.apply(*(pool(f"{name}-4", POOLS[f"{name}-4"], STANDING, disableBGPExport=True) for name in ("either", "open")))
    becomes(known, {("red-router", "red")})
    net.apply(*(pool(f"{name}-4", POOLS[f"{name}-4"], STANDING) for name in ("either", "open")))
    becomes(known, before)


def test_strict_reverse_path_filtering_on_the_links_stops_no_answer(net: Networks) -> None:
    """With rp_filter 1 on the interfaces of the gateways' node, which has no way to the networks in its main table,
    answers pass because the node checks with the packet's mark; without that they do not, and it is put back."""
    paths = [f"net.ipv4.conf.{device}.rp_filter" for device in ("eth0", "eth1", "eth2", "all")]
    before = [net.lab.execute("node-2", "sysctl", "-n", path).strip() for path in paths]
    served = net.served("red", "yellow")
    try:
        for path in paths:
            net.lab.execute("node-2", "sysctl", "-qw", f"{path}=1")
        with net.on_wires(**served), net.undisturbed("red/app", "yellow/app"):
            pass
        for name in ("red", "yellow"):
            net.goes(f"{name}/app", BOTH[4], name, net.address(name, 4), "node-2")
        with net.on_wires(**served):
            net.lab.execute("node-2", "sysctl", "-qw", "net.ipv4.conf.eth1.src_valid_mark=0")
            assert not net.asked("red/app", BOTH[4], timeout=0.3).source
            net.comes_to_go("red/app", BOTH[4], served["red"])
    finally:
        for path, value in zip(paths, before, strict=True):
            net.lab.execute("node-2", "sysctl", "-qw", f"{path}={value}")
