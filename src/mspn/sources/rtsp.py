"""Connect to a network camera at an address that was checked, and let it lead nowhere else.

FFmpeg looks hosts up by itself and follows redirects. So it talks to a relay on this machine, which has connected to
what was checked, and hangs up at a redirect.
"""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from threading import Thread
from urllib.parse import urlsplit

from mspn.errors import SourceError, reason
from mspn.io.hosts import ANY_NETWORK, connect, without_password
from mspn.io.limits import InputLimits

_PORTS = {"rtsp": 554, "rtsps": 322}
_BYTES_AT_ONCE = 2**16
_REDIRECT = re.compile(rb"\nlocation:", re.IGNORECASE)
"""The header that names another address; FFmpeg sees it at the start of a line only."""
_OVERLAP = len(b"\nlocation:") - 1


@dataclass
class Relay:
    """A connection to a camera."""

    address: str
    """On this machine, with the user name and password of the camera's."""
    was_redirected: bool = False
    """Whether the camera has tried to lead elsewhere, and was hung up on."""


@contextmanager
def connected_camera(address: str, limits: InputLimits) -> Iterator[Relay]:
    """Connect to an rtsp or rtsps address, whose host is public, allowed, or in an address that the user wrote.

    Certificates are not checked: cameras sign their own.

    Raises:
        SourceError: if the host may not be asked, or cannot be reached.
    """
    name = without_password(address)
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port or _PORTS[parts.scheme.lower()]
    except ValueError as error:
        raise SourceError(f"{name} is no address ({error}); write rtsp://host/path") from error
    if not host:
        raise SourceError(f"{name} is no address (it has no host); write rtsp://host/path")
    networks = ANY_NETWORK if address in limits.own_addresses else limits.allowed_networks
    with ExitStack() as stack:
        try:
            camera = stack.enter_context(connect(host, port, networks, limits.wait_seconds))
            if parts.scheme.lower() == "rtsps":
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                camera = stack.enter_context(context.wrap_socket(camera, server_hostname=host))
        except SourceError as error:
            raise SourceError(f"{name}: {error}") from error
        except (OSError, UnicodeError) as error:
            raise SourceError(f"{name} cannot be reached ({reason(error)}); check address and network") from error
        camera.settimeout(None)  # FFmpeg waits no longer than it was told to
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        credentials, at, _host = parts.netloc.rpartition("@")
        local = f"{credentials}{at}127.0.0.1:{listener.getsockname()[1]}"
        relay = Relay(parts._replace(scheme="rtsp", netloc=local).geturl())
        stack.callback(_hang_up, camera, listener)
        Thread(target=_serve, args=(listener, camera, relay), name=f"relay of {name}", daemon=True).start()
        yield relay


def _serve(listener: socket.socket, camera: socket.socket, relay: Relay) -> None:
    with suppress(OSError):  # nobody connects any more
        player = listener.accept()[0]
        with closing(player):
            asking = Thread(target=_pass_on, args=(player, camera, None), daemon=True)
            asking.start()
            _pass_on(camera, player, relay)
            asking.join()


def _pass_on(source: socket.socket, sink: socket.socket, relay: Relay | None) -> None:
    """Pass bytes on until either end hangs up; if a relay is given, until they lead elsewhere."""
    before = b""
    with suppress(OSError, ValueError):
        while data := source.recv(_BYTES_AT_ONCE):
            if relay is not None and _REDIRECT.search(before + data):
                relay.was_redirected = True
                break
            before = data[-_OVERLAP:]
            sink.sendall(data)
    _hang_up(source, sink)


def _hang_up(*connections: socket.socket) -> None:
    for connection in connections:
        with suppress(OSError):  # it is at its end already
            connection.shutdown(socket.SHUT_RDWR)
