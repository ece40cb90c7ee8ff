"""Echo requests (RFC 792, RFC 4443) from this network namespace."""

import asyncio
import os
import secrets
import socket
import struct
from dataclasses import dataclass

from sallyport.model.addresses import family_of
from sallyport.model.state import Family, IPAddress

_IP_RECVERR, _IPV6_RECVERR = 11, 25  # linux/in.h and linux/in6.h; Python does not name them
_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number


class EchoError(Exception):
    """An echo request could not be sent, or was answered with an error; says why, in one line."""


@dataclass(frozen=True, slots=True)
class _Dialect:
    domain: socket.AddressFamily
    protocol: int
    request: int
    reply: int
    errors: tuple[int, int]


_DIALECTS: dict[Family, _Dialect] = {
    4: _Dialect(socket.AF_INET, socket.IPPROTO_ICMP, 8, 0, (socket.IPPROTO_IP, _IP_RECVERR)),
    6: _Dialect(socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129, (socket.IPPROTO_IPV6, _IPV6_RECVERR)),
}


async def echo(address: IPAddress) -> None:
    """Send one echo request and return when it is answered. Raises EchoError. The caller bounds the time.

    It needs CAP_NET_RAW, or a group within net.ipv4.ping_group_range (which counts for IPv6, too).
    """
    dialect = _DIALECTS[family_of(address)]
    token = secrets.token_bytes(16)
    loop = asyncio.get_running_loop()
    try:
        with _open(dialect) as link:
            link.setblocking(False)
            link.setsockopt(*dialect.errors, 1)  # so that a router's "unreachable" is told, and need not be waited for
            link.connect((str(address), 0))
            await loop.sock_sendall(link, request(dialect.request, token))
            while not is_reply(await loop.sock_recv(link, 2048), dialect.reply, token):
                pass
    except OSError as error:
        raise EchoError(error.strerror or str(error)) from error


def _open(dialect: _Dialect) -> socket.socket:
    """A raw socket where that is permitted, else one that is for pings alone."""
    refusals = []
    for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
        try:
            return socket.socket(dialect.domain, kind, dialect.protocol)
        except PermissionError as error:
            refusals.append(error)
    raise EchoError("not permitted: neither CAP_NET_RAW nor net.ipv4.ping_group_range allows it") from refusals[-1]


def request(kind: int, token: bytes) -> bytes:
    """An echo request of that ICMP type. The kernel computes ICMPv6's checksum, and a ping socket's identifier."""
    identifier = os.getpid() & 0xFFFF
    sum_ = checksum(_HEADER.pack(kind, 0, 0, identifier, 1) + token)
    return _HEADER.pack(kind, 0, sum_, identifier, 1) + token


def is_reply(received: bytes, kind: int, token: bytes) -> bool:
    """Whether that is the reply to the request with that token. A raw socket hands over IPv4's header as well, and
    what is for other sockets: the token tells."""
    if received[:1] and received[0] >> 4 == 4 and len(received) >= 20:
        received = received[(received[0] & 15) * 4 :]
    return len(received) >= _HEADER.size and received[0] == kind and received[_HEADER.size :] == token


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
