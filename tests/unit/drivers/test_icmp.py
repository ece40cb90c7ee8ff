"""Which packet answers an echo request."""

import pytest

from sallyport.drivers.icmp import checksum, is_reply, request

TOKEN = bytes(range(16))
HEADER = bytes([0x46]) + bytes(23)
"""Of IPv4, with an option: six words."""


def test_the_checksum_is_that_of_the_rfcs_example() -> None:
    """RFC 1071, section 3: the sum is ddf2."""
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


def test_a_packet_with_its_checksum_sums_up_to_nothing() -> None:
    assert checksum(request(8, TOKEN)) == 0


@pytest.mark.parametrize("header", [b"", HEADER])
@pytest.mark.parametrize(("asked", "answered"), [(8, 0), (128, 129)])
def test_a_reply_is_known_by_type_and_token_with_or_without_the_headers_of_ip(
    header: bytes, asked: int, answered: int
) -> None:
    assert is_reply(header + request(answered, TOKEN), answered, TOKEN)
    assert not is_reply(header + request(asked, TOKEN), answered, TOKEN), "our own request, as on loopback"
    assert not is_reply(header + request(answered, TOKEN[::-1]), answered, TOKEN), "somebody else's"
    assert not is_reply(header, answered, TOKEN)
