import socket
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from mspn.errors import SourceError
from mspn.io.limits import is_public, resolve_host, scheme_of, without_password


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",  # shared by a provider's customers
        "169.254.169.254",  # link-local: where clouds keep their secrets
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",  # 127.0.0.1 by 6to4
        "64:ff9b::7f00:1",  # 127.0.0.1 by a translating gateway
        "64:ff9b:1::7f00:1",
        "::127.0.0.1",
        "168.63.129.16",  # the host of a virtual machine in Azure
        "::ffff:168.63.129.16",
        "192.88.99.1",
        "198.18.0.1",
        "3fff::1",  # documentation
        "2001:db8::1",
        "5f00::1",
    ],
)
def test_addresses_that_are_not_of_the_internet_are_not_public(address: str):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_the_internet_are_public(address: str):
    assert is_public(ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "::1"])
def test_this_computer_is_refused_however_it_is_written(host: str):
    with pytest.raises(SourceError, match=r"not on the public internet|is not known"):
        resolve_host(host, 80, [])


def test_an_allowed_network_may_be_asked():
    places = resolve_host("127.0.0.1", 80, [ip_network("127.0.0.0/24")])

    assert places == [(socket.AF_INET, ("127.0.0.1", 80))]


def test_one_private_address_among_several_refuses_the_host(monkeypatch: pytest.MonkeyPatch):
    def look_up(*arguments: Any, **settings: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, 80)) for place in ("93.184.216.34", "10.0.0.7")]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    with pytest.raises(SourceError, match=r"images\.example \(10\.0\.0\.7\) is not on the public internet"):
        resolve_host("images.example", 80, [])


def test_an_unknown_host_is_a_clear_line(monkeypatch: pytest.MonkeyPatch):
    def look_up(*arguments: Any, **settings: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    with pytest.raises(SourceError, match=r"nowhere\.example is not known"):
        resolve_host("nowhere.example", 80, [])


def test_schemes_are_recognized():
    assert scheme_of("HTTPS://host/a.jpg") == "https"
    assert scheme_of("rtsp://host/") == "rtsp"
    assert scheme_of("C:\\photos") is None
    assert scheme_of("photos/a.jpg") is None


def test_passwords_are_not_shown():
    assert without_password("rtsp://me:secret@10.0.0.2:554/live") == "rtsp://10.0.0.2:554/live"
    assert without_password("rtsp://me:se@cret@10.0.0.2/live") == "rtsp://10.0.0.2/live"
    assert without_password("rtsp://me@10.0.0.2/live?a=b") == "rtsp://10.0.0.2/live?a=b"
    assert without_password("rtsp://me:se@cret@[broken/live") == "[broken/live"
    assert without_password("photos/me@home.jpg") == "photos/me@home.jpg"
    assert without_password("https://host/me@home.jpg") == "https://host/me@home.jpg"
