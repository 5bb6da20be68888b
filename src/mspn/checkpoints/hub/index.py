"""The index of published weights: what there is, where it lies, and how to know that it is the right file."""

from functools import cache
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from mspn.checkpoints.hub.download import check_url
from mspn.structures.settings import Settings

ASSETS = Path(__file__).parents[2] / "assets"
_INDEX_FILE = Path(__file__).parent / "index.json"
_FULL_DIGITS = 64


class IndexEntry(Settings):
    """One set of weights: a file of the package, a file to download, or one to fetch by hand."""

    name: str
    recipe: str
    """Name of the network; this version need not build it."""
    layout: Literal["mspn", "official", "mmpose"]
    file: str | None = None
    """In the package's assets."""
    urls: tuple[str, ...] = ()
    """Where the same file lies, tried in this order."""
    page: str | None = None
    """Where a person finds the file, if there is no address that gives it."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{8,64}$")
    """The first digits, as many as are known. MMPose's file names carry eight."""
    size: int | None = Field(None, ge=1)
    """Bytes of the file at `urls`, where known."""
    license: str
    data: tuple[str, ...]
    """Sets that it was trained on."""
    results: dict[str, float] = Field(default_factory=dict)
    """As published, from 0 to 1."""
    protocol: str = ""
    """What the results were measured on, with whose boxes."""
    source: str
    """Who says all this."""

    @property
    def filename(self) -> str:
        """Name of the file at `urls`."""
        return PurePosixPath(urlsplit(self.urls[0]).path).name

    @field_validator("urls")
    @classmethod
    def _check_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            check_url(url)
        if len({PurePosixPath(urlsplit(url).path).name for url in urls}) > 1:
            raise ValueError(f"urls must all end in the same file name, not {', '.join(urls)}")
        return urls

    @model_validator(mode="after")
    def _check_place(self) -> "IndexEntry":
        if [self.file is not None, bool(self.urls), self.page is not None].count(True) != 1:
            raise ValueError(f"{self.name} must have one of file, urls and page")
        if (self.file is not None) != (self.layout == "mspn"):
            raise ValueError(f"{self.name}: files of the package have the layout mspn, others have not")
        if self.urls and self.sha256 is None:
            raise ValueError(f"{self.name} needs a sha256: nothing is downloaded that cannot be checked")
        if self.file is not None and len(self.sha256 or "") != _FULL_DIGITS:
            raise ValueError(f"{self.name} is part of the package and needs all {_FULL_DIGITS} digits of its sha256")
        return self


class Index(Settings):
    """All entries, and other names that they go by."""

    aliases: dict[str, str] = Field(default_factory=dict)
    """Other name to name; a recipe's name stands for the best weights of it."""
    entries: tuple[IndexEntry, ...]

    @model_validator(mode="after")
    def _check_names(self) -> "Index":
        names = [entry.name for entry in self.entries]
        for name in [*names, *self.aliases]:
            if (names + list(self.aliases)).count(name) > 1:
                raise ValueError(f"the index has {name!r} twice")
        for alias, name in self.aliases.items():
            if name not in names:
                raise ValueError(f"alias {alias!r} stands for {name!r}, which the index does not have")
        return self

    def find(self, name: str) -> IndexEntry | None:
        """The entry of that name or alias, if there is one."""
        name = self.aliases.get(name, name)
        return next((entry for entry in self.entries if entry.name == name), None)

    def names(self) -> list[str]:
        """Everything that `find` knows."""
        return [*(entry.name for entry in self.entries), *self.aliases]


@cache
def load_index() -> Index:
    """The index that is part of the package."""
    return Index.model_validate_json(_INDEX_FILE.read_text(encoding="utf-8"))
