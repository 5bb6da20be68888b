"""A real browser for the tests of the page: Debian's Chromium, driven by playwright."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.serving import picture

BROWSER = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser"))), None)
TIMEOUT_MS = 20_000


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's camera shows, again and again."""
    path = tmp_path_factory.mktemp("camera") / "frames.mjpeg"
    path.write_bytes(b"".join(picture(width=320, height=240, seed=seed) for seed in range(3)))
    return path


@pytest.fixture(scope="module")
def browser(camera: Path) -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright, which drives the browser, is not installed: pip install playwright"
    )
    if BROWSER is None:
        pytest.skip("there is no browser for the page: apt-get install chromium-headless-shell")
    flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    file = f"--use-file-for-fake-video-capture={camera}"
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", *flags, file])
        yield launched
        launched.close()


@pytest.fixture(name="open_tab")
def fixture_open_tab(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page at an address; no page may write an error to the console."""
    errors: list[str] = []
    contexts = []

    def open_tab(address: str, **settings: Any) -> Any:
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#model:not(:empty)")
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert errors == []
