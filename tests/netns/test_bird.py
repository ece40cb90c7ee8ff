"""BFD sessions between two nodes, spoken by BIRD."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.moments import moment, seconds
from tests.netns.world import World, eventually, inside, run, underlay

from sallyport.drivers.bird import Bird
from sallyport.drivers.filling import is_filled
from sallyport.drivers.nftables import Tables
from sallyport.model.kernel import Bootstrap, Element, Fib, Kind, Peer
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, Family
from sallyport.plan.skeleton import skeletons

pytestmark = pytest.mark.root


class Pair:
    """BIRD of node a and of node b."""

    def __init__(self, folder: Path) -> None:
        self.birds = {node: Bird(folder / node) for node in "ab"}

    def write(self, node: str, *peers: Peer) -> None:
        """Have a node's BIRD keep sessions with exactly these."""
        bird = self.birds[node]
        with inside(node):
            others = [item for key, item in bird.configured().items() if key not in {peer.key for peer in peers}]
            assert bird.change(peers, others) == []

    def state(self, node: str, address: object) -> str:
        """A session's state as that node sees it."""
        return self.birds[node].sessions().get(str(address), "")

    def up(self, *addresses: tuple[str, object]) -> bool:
        """Whether these sessions come up soon."""
        return eventually(lambda: all(self.state(node, address) == "Up" for node, address in addresses))


def session(node: int, family: Family) -> Peer:
    """Node a's or b's session with the other."""
    ends = [next(item for item in underlay(number) if item.version == family) for number in (node, 3 - node)]
    return Peer(str(ends[1]), str(ends[0]), "eth0")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Nothing runs yet. What was started is stopped in the end."""
    made = Pair(tmp_path)
    yield made
    for node in "ab":
        made.birds[node].stop()


def connected(pair: Pair, families: tuple[Family, ...] = FAMILIES) -> None:
    """Sessions of these families between both nodes."""
    for number, node in ((1, "a"), (2, "b")):
        pair.write(node, *(session(number, family) for family in families))
    assert pair.up(*((node, session(n, family).address) for n, node in ((1, "a"), (2, "b")) for family in families))


def test_sessions_come_up_and_are_read_back(world: World, pair: Pair) -> None:
    """A session of each family, and the configuration in force names its peers."""
    connected(pair)
    assert pair.birds["a"].read()[Kind.PEER] == {peer.key: peer for peer in (session(1, 4), session(1, 6))}
    assert pair.birds["a"].sessions() == {session(1, family).address: "Up" for family in FAMILIES}


def test_every_peer_of_the_configuration_has_a_state_be_it_that_bird_is_gone(world: World, pair: Pair) -> None:
    """Who knows nothing else of its node has to know of the peers that it lacks."""
    connected(pair, (4,))
    lost = replace(session(1, 4), address="192.0.2.99")
    pair.write("a", session(1, 4), lost)
    assert eventually(lambda: pair.birds["a"].peers() == {session(1, 4).address: "Up", lost.address: "Down"})
    pair.birds["a"].ask("down")
    assert eventually(lambda: set(pair.birds["a"].peers().values()) == {""})


def test_a_cut_link_is_noticed_within_half_a_second(world: World, pair: Pair) -> None:
    """Three intervals of 100 ms without a packet."""
    connected(pair)
    run("wire", "ip link set to-b down")
    cut = time.monotonic()
    assert eventually(lambda: pair.state("a", underlay(2)[0]) == "Down", 0.5)
    assert time.monotonic() - cut < 0.5


def test_a_new_peer_resets_no_other_session(world: World, pair: Pair) -> None:
    """Sessions keep the moment since when they are up while peers come and go."""
    connected(pair, (4,))

    def since() -> list[float]:
        return [seconds(line.split()[3]) for line in pair.birds["a"].ask("show bfd sessions") if " Up " in line]

    (before,) = since()
    pair.write("a", session(1, 4), Peer("192.0.2.77", "192.0.2.11", "eth0"), session(1, 6))
    assert eventually(lambda: len(pair.birds["a"].sessions()) == 3)
    assert since() == [moment(before)]
    pair.write("a", session(1, 4))
    assert eventually(lambda: len(pair.birds["a"].sessions()) == 1)
    assert since() == [moment(before)]
    assert pair.state("b", underlay(1)[0]) == "Up"


def test_what_bird_cannot_read_harms_no_other(world: World, pair: Pair) -> None:
    """One failure names the bad peer, a new value that is bad leaves the old one in force, and the session stays."""
    connected(pair, (4,))
    nobody = replace(session(1, 4), address="192.0.2.77")
    with inside("a"):
        failures = pair.birds["a"].change([Peer("nonsense", "192.0.2.11", "eth0"), nobody], [])
        failures += pair.birds["a"].change([replace(session(1, 4), device='e"0')], [])
    assert failures == [
        "bird peer nonsense: 'nonsense' is not an IP address",
        f"bird peer {underlay(2)[0]}: the device has a character that BIRD cannot read",
    ]
    assert pair.birds["a"].read()[Kind.PEER] == {item.key: item for item in (session(1, 4), nobody)}
    assert pair.state("a", underlay(2)[0]) == "Up"


def test_bird_outlives_the_process_that_started_it(world: World, pair: Pair, tmp_path: Path) -> None:
    """An agent's end ends no session, and the next agent finds its peers."""
    pair.write("b", session(2, 4))
    program = (
        "from pathlib import Path\n"
        "from sallyport.drivers.bird import Bird\n"
        "from sallyport.model.kernel import Element, Peer\n"
        f"assert Bird(Path({str(tmp_path / 'a')!r})).change([{session(1, 4)!r}], []) == []\n"
    )
    with inside("a"):
        path = os.pathsep.join(sys.path)
        subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": path}, timeout=20)
    assert pair.up(("a", underlay(2)[0]), ("b", underlay(1)[0]))
    assert list(pair.birds["a"].read()[Kind.PEER]) == [session(1, 4).key]


def test_a_killed_bird_is_started_again(world: World, pair: Pair, tmp_path: Path) -> None:
    """Without a process there are no peers to be read, so that the next round writes them and starts it."""
    connected(pair, (4,))
    os.kill(int((tmp_path / "a" / "bird.pid").read_text()), 9)
    assert eventually(lambda: pair.birds["a"].read()[Kind.PEER] == {})
    assert pair.birds["a"].sessions() == {}
    pair.write("a", session(1, 4))
    assert pair.up(("a", underlay(2)[0]))


def test_without_peers_there_is_no_process(world: World, pair: Pair, tmp_path: Path) -> None:
    """The last peer takes BIRD along."""
    connected(pair, (4,))
    assert (tmp_path / "a" / "bird.pid").exists()
    pair.write("a")
    assert eventually(lambda: not (tmp_path / "a" / "bird.pid").exists())
    assert not any(pair.birds["a"].read().values())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_agent_falls_silent(world: World, pair: Pair, family: Family) -> None:
    """While the element is renewed BFD passes; without renewal the other node sees the session go down."""
    connected(pair, (family,))
    tables = Tables(Settings())
    peer = session(2, family).address
    with inside("a"):
        tables.renew(1)  # there is no table yet, which harms nothing
        assert tables.load(skeletons(Settings(), ())) == []
        tables.renew(60)
        assert tables.change([Element(f"nodes{family}", session(1, family).address)], []) == []
    steady(lambda: pair.state("b", peer) == "Up")
    with inside("a"):
        tables.renew(1)
    assert eventually(lambda: pair.state("b", peer) == "Down", 2.0)
    with inside("a"):
        tables.renew(60)
    assert pair.up(("b", peer))


def test_a_frozen_agent_leaves_others_sessions_alone(world: World, pair: Pair) -> None:
    """BFD with what is no node, such as a router, is not ours to end."""
    connected(pair, (4,))
    with inside("a"):
        assert Tables(Settings()).load(skeletons(Settings(), ())) == []
    steady(lambda: pair.state("b", session(2, 4).address) == "Up")


def steady(condition: Callable[[], bool]) -> None:
    """`condition` holds for longer than a session outlives its last packet."""
    assert not eventually(lambda: not condition(), 0.4)


def test_without_bird_installed_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a failure like any other, so that the rest of a round goes on."""
    monkeypatch.setattr("sallyport.drivers.bird.BIRD", "bird-that-nobody-has")
    assert Bird(tmp_path).change([session(1, 4)], []) == ["bird: No such file or directory"]


def test_a_change_that_brings_a_table_is_done_when_the_table_is_filled(world: World, pair: Pair) -> None:
    """What leads packets to the table is written next: all routes of its networks, of both families, are there by then,
    and those of a table that is left are gone."""
    many = [Bootstrap("red", f"10.{half}.{low}.0/24", "eth0") for half in range(80, 90) for low in range(256)]
    many += [Bootstrap("blue", f"fd80:{low:x}::/64", "eth0") for low in range(1000)]

    def count(table: int) -> tuple[int, int]:
        """How many routes of each family BIRD has put into a table."""
        four, six = (run("a", f"ip -{family} route show table all proto bird") for family in FAMILIES)
        return four.count(f" table {table} "), six.count(f" table {table} ")

    with inside("a"):
        assert pair.birds["a"].change([*many, Fib(500, ("red", "blue"))], []) == []
        for new, old in ((510, 500), (500, 510)):
            assert pair.birds["a"].change([Fib(new, ("red", "blue"))], []) == []
            assert count(new) == (2560, 1000)
            assert pair.birds["a"].change([], [Fib(old, ("red", "blue"))]) == []
            assert count(old) == (0, 0)


def test_a_change_goes_on_though_the_kernel_refuses_what_is_to_fill_a_table(world: World, pair: Pair) -> None:
    """A user's route of the same prefix and metric is in the way: the others are there, the user's stays, and the next
    change is carried out."""
    bird, users = pair.birds["a"], "10.80.0.0/24 dev lo table 500 metric 32"
    with inside("a"):
        run("a", f"ip route add {users}")
        red = [Bootstrap("red", f"10.80.{low}.0/24", "eth0") for low in range(3)]
        assert bird.change([*red, Fib(510, ("red",))], []) == []
        assert bird.change([Fib(500, ("red",))], []) == []
        assert not is_filled(bird.ask, Fib(500, ("red",)))
        told = [line.split()[0] for line in run("a", "ip route show table 500 proto bird").splitlines()]
        assert told == ["10.80.1.0/24", "10.80.2.0/24"]
        assert run("a", "ip route show table 500 dev lo").split()[0] == "10.80.0.0/24"
        assert bird.change([], [Fib(510, ("red",))]) == []
