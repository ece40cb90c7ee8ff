"""External networks: routers of two of them, which know nothing of each other, and a node that keeps them apart."""

import signal
import time
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from tests.moments import moment
from tests.netns.networks import (
    FIBS,
    LINKS,
    MERGED,
    ONLY_RED,
    ONLY_YELLOW,
    RED,
    SHARED,
    YELLOW,
    Scene,
    both,
    since,
    soon,
    via,
)
from tests.netns.routers import address, routes
from tests.netns.world import GATEWAY, eventually, run

from sallyport.drivers.bird import Bird
from sallyport.drivers.birdconf import BirdObject
from sallyport.drivers.routing import Router
from sallyport.model.kernel import Announced, Bootstrap, Fib, Kind, Session
from sallyport.model.plan import Learned
from sallyport.model.state import FAMILIES, Family, RouteFilter, RouteRule
from sallyport.plan.filters import session_filters

pytestmark = pytest.mark.root


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_with_the_same_prefix_have_a_table_each(scene: Scene, family: Family) -> None:
    """In the merged table the first network wins what both have, and each is reached for what it alone has."""
    before = routes(254, family)
    red, yellow = scene.red(), scene.yellow()
    scene.have(*both(red, yellow))
    reds, yellows = via(red, family), via(yellow, family)
    merged = {SHARED[family]: reds, ONLY_RED[family]: reds, ONLY_YELLOW[family]: yellows}
    link = {str(LINKS[family // 6].destination): {"eth0"}}
    assert soon(lambda: routes(MERGED, family) == merged | link)
    assert routes(RED, family) == {SHARED[family]: reds, ONLY_RED[family]: reds} | link
    assert routes(YELLOW, family) == {SHARED[family]: yellows, ONLY_YELLOW[family]: yellows} | link
    assert routes(254, family) == before


def test_what_is_in_force_is_read_back(scene: Scene) -> None:
    """By kind and key, and what was taken out is not among it."""
    red, yellow = scene.red(), scene.yellow()
    objects = [*both(red, yellow, password="secret", digest="5e"), Announced("red", "203.0.113.1/32")]
    scene.have(*objects)
    found = scene.bird.read()
    for kind in (Kind.FIB, Kind.SESSION):
        assert found[kind] == {item.key: item for item in objects if item.kind is kind}
    assert all(item.password == "" for item in found[Kind.SESSION].values() if isinstance(item, Session))
    scene.have(*objects[1:])
    assert objects[0].key not in scene.bird.read()[Kind.FIB]


def test_a_withdrawn_prefix_goes_to_the_next_network(scene: Scene) -> None:
    """The first network's own table has it no more, and the merged one has it again when it is back."""
    red, yellow = scene.red(), scene.yellow()
    scene.have(*both(red, yellow))
    prefix = SHARED[4]
    assert soon(lambda: routes(MERGED).get(prefix) == via(red) and prefix in routes(YELLOW))
    red.announce(ONLY_RED[4])
    assert soon(lambda: routes(MERGED).get(prefix) == via(yellow))
    assert prefix not in routes(RED)
    red.announce(prefix)
    assert soon(lambda: routes(MERGED).get(prefix) == via(red))


def test_a_dead_routers_routes_go_at_once_and_come_back(scene: Scene) -> None:
    """The other network does not notice."""
    red, yellow = scene.red(), scene.yellow()
    scene.have(*both(red, yellow))
    assert soon(lambda: {SHARED[4], ONLY_RED[4], ONLY_YELLOW[4]} <= set(routes(MERGED)))
    began = since(scene, yellow)
    red.stop()
    assert eventually(lambda: SHARED[4] not in routes(RED), 1)
    assert routes(MERGED)[SHARED[4]] == via(yellow)
    assert scene.sessions["red.4"].startswith("Active: ")
    red.start()
    assert soon(lambda: routes(MERGED).get(SHARED[4]) == via(red))
    assert since(scene, yellow) == moment(began)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_session_may_begin_at_an_address_of_the_node_that_is_not_the_links(scene: Scene, family: Family) -> None:
    """With sourceAddress UseNodeIP: a router that knows the way to the node's own address and waits for it there has a
    session, the table is filled, and it is told that address as the next hop."""
    own: dict[Family, str] = {4: "10.99.0.11", 6: "fd00:99::11"}
    run("a", f"ip address add {own[family]} dev lo" + (" nodad" if family == 6 else ""))
    scene.ending.callback(run, "a", f"ip address del {own[family]} dev lo")
    red = scene.red(node=own, options="multihop 2;")
    run("red", f"ip route add {own[family]} via {address(1, family)}")
    scene.ending.callback(run, "red", f"ip route del {own[family]}")
    host = {4: "203.0.113.7/32", 6: "2001:db8:77::7/128"}[family]
    speaking = red.session("red", family, source=own[family])
    scene.have(FIBS[0], *LINKS[:2], speaking, Announced("red", host))
    assert soon(lambda: SHARED[family] in routes(RED, family) and red.heard() == {host})
    assert red.attributes(host)["BGP.next_hop"].split()[0] == own[family]


def test_two_routers_of_a_network_share_its_load(scene: Scene) -> None:
    """Equal ways are one route with both of them."""
    red = scene.red()
    second = scene.router("second", 65001, SHARED[4])
    scene.have(FIBS[0], LINKS[0], red.session("red"), second.session("red"))
    assert soon(lambda: routes(RED).get(SHARED[4]) == via(red) | via(second))
    second.stop()
    assert soon(lambda: routes(RED).get(SHARED[4]) == via(red))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_announced_address_reaches_its_networks_peers_alone(scene: Scene, family: Family) -> None:
    """It is told to red's router, not to yellow's, is in no table of the kernel, and is taken back."""
    red, yellow = scene.red(), scene.yellow()
    host = {4: "203.0.113.7/32", 6: "2001:db8:77::7/128"}[family]
    other = {4: "203.0.113.8/32", 6: "2001:db8:77::8/128"}[family]
    scene.have(*both(red, yellow), Announced("red", host), Announced("yellow", other))
    assert soon(lambda: red.heard() == {host} and yellow.heard() == {other})
    assert not {host.partition("/")[0], "blackhole"} & set(routes(RED, family)) & set(routes(MERGED, family))
    scene.have(*both(red, yellow), Announced("yellow", other))
    assert soon(lambda: not red.heard())
    assert yellow.heard() == {other}


def test_our_own_address_is_not_taken_back_from_a_router(scene: Scene) -> None:
    """A router that says it leads to an egress IP of this node is not believed, for as long as it is one."""
    red = scene.red("203.0.113.7/32")
    wanted: list[BirdObject] = [*FIBS, *LINKS, red.session("red")]
    scene.have(*wanted, Announced("red", "203.0.113.7/32"))
    assert soon(lambda: SHARED[4] in routes(RED) and SHARED[4] in routes(MERGED))
    assert "203.0.113.7" not in {*routes(RED), *routes(MERGED)}
    scene.have(*wanted)
    assert soon(lambda: {"203.0.113.7"} <= {*routes(RED)} & {*routes(MERGED)})


def test_a_network_gets_another_table_without_a_new_session(scene: Scene) -> None:
    """The old table is left empty, the new one is filled, and the peer hears nothing of it."""
    red = scene.red()
    scene.have(Fib(RED, ("red",)), LINKS[0], red.session("red"))
    assert soon(lambda: SHARED[4] in routes(RED))
    began = since(scene, red)
    scene.have(Fib(510, ("red",)), LINKS[0], red.session("red"))
    assert soon(lambda: routes(510).get(SHARED[4]) == via(red))
    assert routes(RED) == {}
    assert since(scene, red) == moment(began)


def test_a_users_own_routes_are_left_alone_and_lead_to_next_hops(scene: Scene) -> None:
    """What somebody put into the network's table stays when BIRD leaves it, counts as the network's, and resolves next
    hops that are on no link."""
    run("a", f"ip route add 10.200.0.0/24 via {GATEWAY[4]} table {RED}")
    run("a", f"ip route add {ONLY_RED[4]} via {GATEWAY[4]} table {RED}")
    scene.ending.callback(run, "a", f"ip route flush table {RED}")
    red = scene.red(outgoing="bgp_next_hop = 10.200.0.5;", options="multihop 2;")
    wanted: list[BirdObject] = [*FIBS, LINKS[0], red.session("red", device="")]
    assert scene.change(*wanted) == []
    beyond = {str(GATEWAY[4])}
    assert soon(lambda: routes(RED).get(SHARED[4]) == beyond)
    assert soon(lambda: routes(MERGED).get("10.200.0.0/24") == beyond and routes(MERGED).get(SHARED[4]) == beyond)
    users = [line for line in run("a", f"ip route show table {RED}").splitlines() if "proto bird" not in line]
    assert len(users) == 2
    scene.have(FIBS[1])
    left = run("a", f"ip route show table {RED}").splitlines()
    assert left == users
    assert soon(lambda: routes(MERGED) == {})


def test_a_route_whose_next_hop_nothing_leads_to_is_not_used(scene: Scene) -> None:
    """It is in the table as soon as there is a way to the next hop, and hides no other network's until then."""
    red, yellow = scene.red(outgoing="bgp_next_hop = 10.201.0.5;", options="multihop 2;"), scene.yellow()
    wanted: list[BirdObject] = [*FIBS, *LINKS, red.session("red", device=""), yellow.session("yellow")]
    scene.have(*wanted)
    assert soon(lambda: scene.sessions.get("red.4") == "Established" and SHARED[4] in routes(YELLOW))
    assert soon(lambda: len(scene.bird.ask("show route table 'net-red.4' where source = RTS_BGP")) > 3)
    assert routes(MERGED)[SHARED[4]] == via(yellow)
    assert SHARED[4] not in routes(RED)
    scene.have(*wanted, Bootstrap("red", "10.201.0.0/24", "", str(GATEWAY[4])))
    assert soon(lambda: routes(MERGED).get(SHARED[4]) == {str(GATEWAY[4])} == routes(RED).get(SHARED[4]))


def test_a_session_needs_the_routers_password(scene: Scene) -> None:
    """With another one there is no session; and the right one is all that was missing."""
    red = scene.red(options='password "right";')
    fib: list[BirdObject] = [FIBS[0], LINKS[0]]
    scene.have(*fib, red.session("red", password="wrong", digest="1"))
    again = time.monotonic() + 3  # by then a session with the right password has long been there
    assert not eventually(lambda: scene.sessions.get("red.4") == "Established", again - time.monotonic())
    scene.have(*fib, red.session("red", password="right", digest="2"))
    assert soon(lambda: scene.sessions.get("red.4") == "Established")


def test_no_change_loses_another_sessions_password(scene: Scene) -> None:
    """An agent that has just started knows no password, and keeps those in force; they are in one file that nobody else
    can read, and in no comment of it."""
    red, yellow = scene.red(options='password "for red";'), scene.yellow()
    scene.have(FIBS[0], LINKS[0], red.session("red", password="for red", digest="1"))
    assert soon(lambda: scene.sessions.get("red.4") == "Established")
    began = since(scene, red)
    assert scene.change(yellow.session("yellow")) == []
    assert soon(lambda: scene.sessions == {"red.4": "Established", "yellow.4": "Established"})
    assert since(scene, red) == moment(began)
    path = scene.folder / "a" / "bird.conf"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [line.strip() for line in path.read_text().splitlines() if "for red" in line] == ['password "for red";']
    scene.kill(signal.SIGKILL)
    assert scene.change(yellow.session("yellow")) == []
    assert soon(lambda: scene.sessions == {"red.4": "Established", "yellow.4": "Established"})


def test_bfd_notices_a_silent_router_within_half_a_second(scene: Scene) -> None:
    """A router that is frozen closes no connection. It is back soon after it has awoken."""
    red = scene.red(bfd=True)
    scene.have(FIBS[0], LINKS[0], red.session("red", bfd=True))
    assert soon(lambda: SHARED[4] in routes(RED) and scene.bird.sessions() == {address(red.number, 4): "Up"})
    red.signal(signal.SIGSTOP)
    assert eventually(lambda: SHARED[4] not in routes(RED), 0.5)
    red.signal(signal.SIGCONT)
    assert soon(lambda: SHARED[4] in routes(RED))


@pytest.mark.parametrize("secured", [True, False])
def test_ttl_security_takes_nothing_from_further_away(scene: Scene, secured: bool) -> None:
    """A router on the link that sends with a TTL of 255 is a peer; one that sends with less could be anywhere."""
    red = scene.red(options="ttl security on;" if secured else "")
    scene.have(FIBS[0], LINKS[0], red.session("red", hops=1, device=""))
    seconds = 15 if secured else 3
    assert eventually(lambda: scene.sessions.get("red.4") == "Established", seconds) is secured


def test_each_peer_may_see_another_number_of_ours(scene: Scene) -> None:
    """A network's routers may know the node by an AS number that the other's do not."""
    red, yellow = scene.red(node_asn=64999), scene.yellow()
    scene.have(*both(red, yellow), Announced("red", "203.0.113.7/32"), Announced("yellow", "203.0.113.7/32"))
    assert soon(lambda: bool(red.heard()) and bool(yellow.heard()))
    assert red.attributes("203.0.113.7/32")["BGP.as_path"] == "64999"
    assert yellow.attributes("203.0.113.7/32")["BGP.as_path"] == "65000"


def test_a_path_with_our_own_number_is_a_loop_unless_it_is_allowed(scene: Scene) -> None:
    """Two sites with one AS number can talk through a provider."""
    red, yellow = scene.red(outgoing="bgp_path.prepend(65000);"), scene.yellow()
    scene.have(*both(red, yellow))
    assert soon(lambda: {SHARED[4], ONLY_YELLOW[4]} <= set(routes(MERGED)) and len(scene.sessions) == 4)
    assert soon(lambda: set(scene.sessions.values()) == {"Established"})
    assert SHARED[4] not in routes(RED)
    scene.have(*both(red, yellow, own_asn_in_path=1))
    assert soon(lambda: SHARED[4] in routes(RED))


def test_filters_decide_what_is_taken_and_what_is_told(scene: Scene) -> None:
    """The first rule that matches decides, what none matches is accepted, and a route may be changed on its way."""
    red = scene.red()
    shared = ip_network(SHARED[4])
    given = RouteFilter(
        "given",
        {
            ("import", 4): (RouteRule(True, shared, "Equal"), RouteRule(False, lengths=(24, 24))),
            ("export", 4): (
                RouteRule(False, ip_network("203.0.113.8/32"), "In"),
                RouteRule(True, add=("65000:77", "65000:1:2"), prepend=(64512, 64513)),
            ),
        },
    )
    told = [Announced("red", f"203.0.113.{number}/32") for number in (7, 8)]
    plain = red.session("red")
    red.announce(SHARED[4], ONLY_RED[4], "10.52.0.0/24")
    scene.have(FIBS[0], LINKS[0], plain, *told)
    assert soon(lambda: "10.52.0.0/24" in routes(RED) and len(red.heard()) == 2)
    began = since(scene, red)
    scene.have(FIBS[0], LINKS[0], replace(plain, filters=session_filters([given], internal=False)), *told)
    assert soon(lambda: "10.52.0.0/24" not in routes(RED) and red.heard() == {"203.0.113.7/32"})
    assert {SHARED[4], ONLY_RED[4]} <= set(routes(RED))
    heard = red.attributes("203.0.113.7/32")
    assert heard["BGP.as_path"] == "65000 64512 64513"
    assert heard["BGP.community"] == "(65000,77)"
    assert heard["BGP.large_community"] == "(65000, 1, 2)"
    assert since(scene, red) == moment(began)


def test_keepalives_come_as_often_as_asked_for(scene: Scene) -> None:
    """The hold time is three of them."""
    red = scene.red()
    scene.have(FIBS[0], LINKS[0], red.session("red", keepalive=2))
    assert soon(lambda: scene.sessions.get("red.4") == "Established")
    timers = [line.split()[-1] for line in scene.bird.ask("show protocols all 'bgp-red.4'") if " timer: " in line]
    assert sorted(text.partition("/")[2] for text in timers) == ["2", "6"]


def test_a_session_that_cannot_be_spoken_harms_no_other(scene: Scene) -> None:
    """It is one failure that names it, be it unreadable or refused by BIRD, and all else is in force."""
    red = scene.red()
    good = red.session("red")
    bad = [
        replace(good, name="no-filter", filters=(("import", 4, "if nonsense then"),)),
        replace(good, name="no-password", address="192.0.2.99", password='x"; # y'),
        replace(good, name="no-port", address="192.0.2.98", port=70000),
    ]
    failures = scene.change(bad[0], FIBS[0], bad[1], LINKS[0], good, bad[2])
    assert [failure.split(":")[0] for failure in failures] == [f"bird session {item.name}" for item in bad]
    assert scene.bird.read()[Kind.SESSION] == {good.key: good}
    assert soon(lambda: SHARED[4] in routes(RED))


def test_what_bird_knows_can_be_asked(scene: Scene) -> None:
    """Counts, the first routes, and all prefixes of a network, without the links by which its peers are reached."""
    red, yellow = scene.red(), scene.yellow()
    scene.have(*both(red, yellow), Announced("red", "203.0.113.7/32"))
    assert soon(lambda: len(routes(MERGED)) == len(routes(MERGED, 6)) == 4)
    router = Router(scene.bird)
    assert router.networks() == ("red", "yellow")
    assert router.counts() == {"red": 4, "yellow": 4}
    reds = {*SHARED.values(), *ONLY_RED.values()}
    assert {str(prefix) for prefix in router.prefixes("red")} == reds
    assert {str(item.destination) for item in router.learned("red", 9)} == reds
    first = Learned(ip_network(ONLY_RED[4]), ip_address(address(red.number, 4)), "eth0")
    assert first in router.learned("red", 2)
    assert len(router.learned("red", 3)) == 3
    assert router.learned("nothing", 3) == ()
    red.announce(ONLY_RED[4])
    assert soon(lambda: router.prefixes("red") == {ip_network(ONLY_RED[4])})


def test_a_bird_that_does_not_run_knows_nothing(tmp_path: Path) -> None:
    """There are no sessions and no routes then, and no failure."""
    router = Router(Bird(tmp_path))
    assert router.sessions() == {}
    assert router.counts() == {}
    assert router.learned("red", 1) == ()
    assert not router.prefixes("red")
