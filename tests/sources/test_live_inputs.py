import sys
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from mspn.errors import SourceError
from mspn.io.limits import InputLimits
from mspn.sources.live import watch_stream
from mspn.structures.boxes import Size
from mspn.structures.image import Image
from tests.checkpoints import file_server
from tests.sources.rtsp_server import camera

SETTINGS = InputLimits(wait_seconds=2, reconnections=0, allowed_networks=(ip_network("127.0.0.0/8"),))


def read_on(images: Iterator[Image]) -> tuple[list[Image], str]:
    read: list[Image] = []
    try:
        for image in images:
            read.append(image)
    except SourceError as error:
        return read, str(error)
    raise AssertionError("a stream ends with a line")


def test_a_network_camera_is_read_until_it_hangs_up():
    with camera(num_frames=12) as server:
        images, problem = read_on(watch_stream(server.url, SETTINGS))

    shown = server.url.replace("user:secret@", "")
    assert images
    assert all(image.source == shown and image.size == Size(48, 64) for image in images)
    assert images[0].pixels[12, 16, 0] > 180  # red
    assert images[0].pixels[12, 48, 0] < 120
    numbers = [image.frame.index for image in images if image.frame]
    assert numbers == sorted(set(numbers))
    assert problem.startswith(shown)
    assert "frames came" in problem
    assert "secret" not in problem


def test_large_frames_of_a_stream_are_refused():
    with camera(num_frames=4) as server:
        _, problem = read_on(watch_stream(server.url, SETTINGS.model_copy(update={"max_pixels": 100})))

    assert "has frames of 64x48 pixels, above the limit of 100" in problem


def test_a_stream_that_is_not_there_is_a_clear_line_without_its_password():
    with file_server.running(b"") as closed:
        address = f"rtsp://user:secret@127.0.0.1:{closed.server_port}/live"

    _, problem = read_on(watch_stream(address, SETTINGS))

    assert "/live cannot be reached (Connection refused); check address and network" in problem
    assert "secret" not in problem


def test_without_pyav_streams_say_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)

    _, problem = read_on(watch_stream("rtsp://me:secret@127.0.0.1/live", SETTINGS))

    assert problem == "reading rtsp://127.0.0.1/live needs PyAV; pip install 'mspn[video]'"


def test_a_private_camera_is_asked_only_if_the_user_wrote_its_address():
    guarded = SETTINGS.model_copy(update={"allowed_networks": ()})
    with camera(num_frames=4) as server:
        _, refused = read_on(watch_stream(server.url, guarded))
        assert server.headers == []
        own = guarded.model_copy(update={"own_addresses": frozenset({server.url})})
        images, _ = read_on(watch_stream(server.url, own))

    assert "/live: 127.0.0.1 is not on the public internet; nothing is asked there unless" in refused
    assert images


@pytest.mark.parametrize(
    "pieces",
    [
        ["Location"],
        ["location"],
        ["LOCATION"],
        ["Loca\rtion"],
        ["$\0\0\0Location"],  # after a packet without images
        list("Location"),
        ["Loc\r", "\r", "a\rtion"],
    ],
)
def test_a_redirect_of_a_camera_is_not_followed_however_it_is_sent(pieces: list[str]):
    with camera(num_frames=4) as other, camera(num_frames=4) as server:
        server.redirect = (*pieces, ": ", other.url)
        images, problem = read_on(watch_stream(server.url, SETTINGS))

        assert (images, other.headers) == ([], [])
    assert problem.endswith("/live redirects elsewhere, where nothing is asked; give the last address")
    assert "secret" not in problem


@pytest.mark.parametrize("address", ["rtsp://", "rtsp://host:99999/live", "rtsp://[host/live"])
def test_what_is_no_address_of_a_camera_is_a_clear_line(address: str):
    assert "is no address (" in read_on(watch_stream(address, SETTINGS))[1]
