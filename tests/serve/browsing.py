"""What people do with the page in a browser."""

import base64
from pathlib import Path
from typing import Any


def drop(page: Any, *files: tuple[str, bytes, str]) -> None:
    """Drop files, each a name, its bytes and its type, on the page."""
    page.evaluate(
        """(files) => {
            const dataTransfer = new DataTransfer();
            for (const [name, encoded, type] of files) {
                const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
                dataTransfer.items.add(new File([bytes], name, { type }));
            }
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        [[name, base64.b64encode(content).decode(), kind] for name, content, kind in files],
    )


def wait_for_people(page: Any, count: int) -> None:
    page.wait_for_selector(f'#skeletons[data-people="{count}"]')


def download(page: Any, button: str) -> tuple[str, bytes]:
    with page.expect_download() as started:
        page.click(button)
    return started.value.suggested_filename, Path(started.value.path()).read_bytes()
