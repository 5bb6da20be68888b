"""What may be read: sizes and waits of sources, and which hosts may be connected to, public ones and allowed ones."""

import math
import re
import socket
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field

from mspn.errors import SourceError, reason
from mspn.io.images import MAX_PIXELS
from mspn.structures.settings import Settings

WEB_SCHEMES = ("http", "https")
STREAM_SCHEMES = ("rtsp", "rtsps")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_IPV4_IN_IPV6 = IPv6Network("64:ff9b::/96")
"""Addresses of IPv4 that a gateway translates (RFC 6052)."""

Networks = tuple[IPv4Network | IPv6Network, ...]
ANY_NETWORK: Networks = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_ALSO_NOT_PUBLIC: Networks = (
    ip_network("168.63.129.16/32"),  # the host of a virtual machine in Azure
    ip_network("192.88.99.0/24"),  # gateways of 6to4, withdrawn (RFC 7526)
    ip_network("3fff::/20"),  # documentation (RFC 9637)
    ip_network("5f00::/16"),  # segments of a provider's own routing (RFC 9602)
    ip_network("64:ff9b:1::/48"),  # translation within a network (RFC 8215)
)
"""What `ipaddress` takes for public, at least in some versions of Python."""

SocketAddress = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]
"""Family and address that a socket connects to."""


def scheme_of(source: str) -> str | None:
    """The scheme of an address, in lower case; None if it is not an address."""
    match = _SCHEME.match(source)
    return match[1].lower() if match else None


def without_password(address: str) -> str:
    """An address as it is shown and written: without user name and password."""
    if scheme_of(address) is None or "@" not in address:
        return address
    try:
        parts = urlsplit(address)
    except ValueError:
        return address.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def resolve_host(host: str, port: int, allowed: Sequence[IPv4Network | IPv6Network]) -> list[SocketAddress]:
    """Look a host up once and check all its addresses; connect to these, since a second look-up may differ.

    Raises:
        SourceError: if it is unknown, or any of its addresses is neither public nor allowed.
    """
    try:
        resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SourceError(f"{host} is not known ({reason(error)}); check the address and the network") from error
    addresses: list[SocketAddress] = [(family, address) for family, _type, _protocol, _name, address in resolved]  # type: ignore[misc]
    for _family, socket_address in addresses:
        address = ip_address(socket_address[0])
        if not is_public(address) and not any(address in network for network in allowed):
            known_as = host if host == str(address) else f"{host} ({address})"
            raise SourceError(
                f"{known_as} is not on the public internet; nothing is asked there unless its network is"
                " allowed (--allow-network, or allowed_networks in Python)"
            )
    return addresses


def connect(
    host: str, port: int, allowed: Sequence[IPv4Network | IPv6Network], wait_seconds: float, deadline: float = math.inf
) -> socket.socket:
    """Connect to the first address of a host that answers, see `resolve_host`; the socket waits as long afterwards.

    Args:
        host: name or address.
        port: of it.
        allowed: networks that are not public but may be connected to.
        wait_seconds: longest wait for an address.
        deadline: of all, as `time.monotonic` counts.

    Raises:
        SourceError: as `resolve_host`.
        OSError: of the last address, if none answers.
    """
    problem: OSError | None = None
    for family, address in resolve_host(host, port, allowed):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(max(0.01, min(wait_seconds, deadline - time.monotonic())))
            connection.connect(address)
        except OSError as error:
            connection.close()
            problem = error
        else:
            return connection
    assert problem is not None
    raise problem


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is on the public internet: not private, loopback, link-local, multicast or reserved."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or [None])[-1]
        if address in _IPV4_IN_IPV6:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:  # an older kind of private
            return False
    if any(address in network for network in _ALSO_NOT_PUBLIC):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_link_local)


class InputLimits(Settings):
    """Sizes, waits, and allowed networks of sources, and how deep images are read."""

    max_pixels: int = Field(MAX_PIXELS, ge=1)
    """Of one image, or one frame of a video."""
    wait_seconds: float = Field(10.0, gt=0)
    """Longest wait for a connection, the headers of an answer, more bytes, or the next frame of a live source."""
    download_seconds: float = Field(120.0, gt=0)
    """For all that an address gives, redirects included."""
    download_bytes: int = Field(256 * 2**20, ge=1)
    """Of all that an address gives."""
    max_redirects: int = Field(5, ge=0)
    """From one address to the next."""
    allowed_networks: Networks = ()
    """Networks that are not public but may be asked for images all the same, such as 192.168.1.0/24."""
    own_addresses: frozenset[str] = frozenset()
    """Addresses that the user wrote: their hosts may be anywhere, unlike those of lists, requests and redirects."""
    stretch: bool = False
    """Whether the largest value of a 16-bit image becomes white, in place of the largest possible one."""
    excluded_folders: tuple[Path, ...] = ()
    """Folders that are not searched when they lie in one that is: where results are written to."""
    reconnections: int = Field(3, ge=0)
    """Tries to get a live source back, a pause after each, before it counts as ended."""
    reconnection_seconds: float = Field(2.0, ge=0)
    """Pause before each of them."""


DEFAULTS = InputLimits()
