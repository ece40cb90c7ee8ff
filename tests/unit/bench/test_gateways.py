"""What a benchmark takes for a leak."""

import pytest
from bench.gateways import is_astray


@pytest.mark.parametrize(
    ("router", "source", "astray"),
    [
        ("red-router", "10.20.0.3", False),
        ("yellow-router", "10.20.0.3", True),
        ("router", "10.20.0.3", True),
        ("red-router", "10.10.0.101", True),
        ("red-router", "10.244.1.2", True),
    ],
)
def test_only_a_gateways_address_before_its_own_network_is_no_leak(router: str, source: str, astray: bool) -> None:
    assert is_astray(router, source) is astray
