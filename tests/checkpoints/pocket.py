"""A small published network: its checkpoint, served on this machine, and its entry in an index."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mspn.checkpoints.convert import to_layout
from mspn.checkpoints.index import IndexEntry
from mspn.config.model import ModelConfig
from mspn.config.recipe import Recipe
from mspn.models.mspn import MSPN
from mspn.structures.boxes import Size
from tests.checkpoints import file_server
from tests.checkpoints.file_server import FileServer

CONFIG = ModelConfig(backbone="resnet18", num_stages=1, stem_channels=4, up_channels=6, input_size=Size(64, 64))
RECIPE = Recipe(name="pocket", model=CONFIG)


def pocket_network() -> MSPN:
    torch.manual_seed(21)
    return MSPN(CONFIG)


def saved(content: Any, path: Path) -> bytes:
    torch.save(content, path)
    return path.read_bytes()


@contextmanager
def serving(folder: Path) -> Iterator[FileServer]:
    content = saved({"state_dict": to_layout(pocket_network(), "mmpose"), "meta": {}}, folder / "original.pth")
    with file_server.running(content) as server:
        yield server


def entry_of(server: FileServer, **changes: Any) -> IndexEntry:
    values = {
        "name": "pocket-theirs",
        "recipe": "pocket",
        "layout": "mmpose",
        "urls": (server.url("pocket.pth"),),
        "sha256": hashlib.sha256(server.content).hexdigest()[:8],
        "license": "MIT",
        "data": ("drawn people",),
        "results": {"AP": 0.5},
        "protocol": "their own boxes",
        "source": "a test",
    }
    return IndexEntry(**values | changes)
