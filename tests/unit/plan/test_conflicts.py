"""Where networks of one gateway get into each other's way."""

from ipaddress import ip_network

from sallyport.model.plan import Conflict
from sallyport.model.state import IPNetwork
from sallyport.plan.conflicts import conflicts


def nets(*texts: str) -> frozenset[IPNetwork]:
    """Prefixes from text."""
    return frozenset(ip_network(text) for text in texts)


def ordered(*texts: str) -> tuple[IPNetwork, ...]:
    """Prefixes from text, in that order."""
    return tuple(ip_network(text) for text in texts)


def test_networks_apart_have_no_conflict() -> None:
    """Prefixes inside another's are none: the longest decides. What is not known has no routes."""
    prefixes = {"red": nets("10.0.0.0/8", "2001:db8::/32"), "yellow": nets("10.1.0.0/16", "192.0.2.0/24")}
    assert conflicts(["red", "yellow", "blue"], prefixes) == ()


def test_the_first_network_wins_equal_prefixes() -> None:
    """In the order of the list, and with all of them sorted by family and number."""
    prefixes = {
        "red": nets("2001:db8::/32", "105.8.10.0/24", "20.0.0.0/8", "10.0.0.0/8"),
        "yellow": nets("105.8.10.0/24", "20.0.0.0/8", "2001:db8::/32"),
        "blue": nets("20.0.0.0/8"),
    }
    shared = ordered("20.0.0.0/8", "105.8.10.0/24", "2001:db8::/32")
    twenty = ordered("20.0.0.0/8")
    assert conflicts(["red", "yellow", "blue"], prefixes) == (
        Conflict("red", "yellow", shared),
        Conflict("red", "blue", twenty),
        Conflict("yellow", "blue", twenty),
    )
    assert conflicts(["yellow", "red"], prefixes) == (Conflict("yellow", "red", shared),)


def test_a_default_route_hides_what_others_lack() -> None:
    """Of two default routes the first wins; one alone takes what another network of its family withdraws."""
    prefixes = {
        "red": nets("10.0.0.0/8"),
        "yellow": nets("0.0.0.0/0", "::/0"),
        "blue": nets("0.0.0.0/0", "2001:db8::/32"),
    }
    assert conflicts(["red", "yellow", "blue"], prefixes) == (
        Conflict("yellow", "red", ordered("0.0.0.0/0"), hidden=True),
        Conflict("yellow", "blue", ordered("0.0.0.0/0", "::/0"), hidden=True),
    )
    assert conflicts(["blue", "yellow"], prefixes) == (
        Conflict("blue", "yellow", ordered("0.0.0.0/0"), hidden=True),
        Conflict("yellow", "blue", ordered("::/0"), hidden=True),
    )


def test_one_network_named_twice_has_no_conflict_with_itself() -> None:
    assert conflicts(["red", "red"], {"red": nets("0.0.0.0/0", "10.0.0.0/8")}) == ()
