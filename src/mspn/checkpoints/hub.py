"""Networks by name: finding and downloading their weights.

Published weights are downloaded once, converted to mspn's own files, and kept in the cache.
"""

import difflib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from mspn.checkpoints.index import ASSETS, IndexEntry, Limits, Report, download, load_index
from mspn.errors import DownloadError, WeightsError
from mspn.io.files import sha256_of, write_text
from mspn.structures.settings import Settings

logger = logging.getLogger(__name__)


def find_weights(model: str | Path, report: Report = lambda _done, _total: None) -> Path:
    """The weights file of a model: a name of `mspn models list`, or a file.

    Published weights are downloaded into the cache on first use. A `Path` is always a file.

    Args:
        model: name or file.
        report: called with the progress of a download.

    Raises:
        WeightsError: if there is no such file, a network of that name but no weights of it, or a download fails.
    """
    index, name = load_index(), str(model)
    entry = None if isinstance(model, Path) else index.find(name)
    if entry is not None:
        return ASSETS / entry.file if entry.file is not None else download_weights(entry, cache_folder(), report=report)
    if Path(name).is_file():
        return Path(name)
    from mspn.config.recipes import DETECTOR_RECIPES, RECIPES, STUDY_RECIPES  # noqa: PLC0415 (a tenth of a start)

    if name in {**RECIPES, **STUDY_RECIPES, **DETECTOR_RECIPES} and not isinstance(model, Path):
        raise WeightsError(
            f"there are no weights of {name} in this version; train it (`mspn train {name} --out RUN`), give the"
            " path of a weights file, or convert a published checkpoint (`mspn models convert`)"
        )
    close = difflib.get_close_matches(name, [*index.names(), *RECIPES, *DETECTOR_RECIPES], n=1)
    hint = f"did you mean {close[0]!r}?" if close else "see `mspn models list`"
    raise WeightsError(f"no weights file at {name} and no model of that name; {hint}")


def digest_of(weights: Path) -> str:
    """SHA-256 of a weights file; of those of the package, what the index says, which `verify` checks."""
    if weights.parent == ASSETS:
        for entry in load_index().entries:
            if entry.file == weights.name and entry.sha256 is not None:
                return entry.sha256
    return sha256_of(weights)


CACHE_VARIABLE = "MSPN_CACHE"
OFFLINE_VARIABLE = "MSPN_OFFLINE"
_FALSE_VALUES = ("", "0", "false", "no")
_DIGEST_DIGITS = 8


class CacheRecord(Settings):
    """Provenance of a cached weights file; written beside it once it is complete."""

    sha256: str
    """Of the file in the cache."""
    size: int
    """Of the file in the cache, in bytes."""
    original_sha256: str
    """Of the file that it was converted from."""
    url: str | None
    """Address of the original; null if the user put it into the cache."""


def cache_folder() -> Path:
    """The folder of MSPN_CACHE, or the system's folder for caches."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    return _system_caches(sys.platform, os.environ, Path.home()) / "mspn"


def is_offline() -> bool:
    """Whether MSPN_OFFLINE forbids downloads."""
    return os.environ.get(OFFLINE_VARIABLE, "").lower() not in _FALSE_VALUES


def cached_file(entry: IndexEntry, folder: Path) -> Path:
    """Path of an entry's converted weights; the name contains the digest of the original."""
    assert entry.sha256 is not None
    return folder / f"{entry.name}-{entry.sha256[:_DIGEST_DIGITS]}.safetensors"


def is_cached(entry: IndexEntry, folder: Path) -> bool:
    """Whether the cache holds an entry's weights completely: its record, written last, has the file's size.

    `verify` and `mspn models download` check every byte.
    """
    if not is_present(entry, folder):
        return False
    record = _read_record(entry, folder)
    return record is not None and cached_file(entry, folder).stat().st_size == record.size


def is_present(entry: IndexEntry, folder: Path) -> bool:
    """Whether the cache has a file of an entry, complete or not."""
    return bool(entry.urls) and cached_file(entry, folder).is_file()


def download_weights(
    entry: IndexEntry, folder: Path, *, limits: Limits | None = None, report: Report = lambda _done, _total: None
) -> Path:
    """Download and convert an entry's weights unless they are cached; other processes wait meanwhile.

    Warns of weights whose SHA-256 is not known whole: another file with the same first digits can be made.

    Args:
        entry: an entry of the index.
        folder: the cache.
        limits: see `download`.
        report: called with the download's progress.

    Returns:
        The weights file, in our format.

    Raises:
        WeightsError: if the file cannot be downloaded, is not the published one, or does not convert; the message
            says what to fetch by other means and where to put it. No incomplete file is left under a final name.
    """
    cached = cached_file(entry, folder) if entry.urls else None
    if cached is not None and is_cached(entry, folder):
        _warn_of_short_digest(entry, folder)
        return cached
    from mspn.config.recipes import RECIPES  # noqa: PLC0415 (a tenth of a start)

    if entry.recipe not in RECIPES:
        raise WeightsError(
            f"{entry.name} are weights of the network {entry.recipe}, which this version of mspn does not have;"
            " see `mspn models list` for others"
        )
    if cached is None:
        raise WeightsError(
            f"no address gives {entry.name} directly: fetch the checkpoint from {entry.page} in a browser, then"
            f" `mspn models convert CHECKPOINT {entry.name}.safetensors` and name that file instead"
        )
    if is_offline() and not (folder / entry.filename).is_file():
        raise WeightsError(
            f"{entry.name} is not in the cache, and {OFFLINE_VARIABLE} forbids downloads:"
            f" {_instructions(entry, folder)}"
        )
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{entry.name}.lock"):
            if not is_cached(entry, folder):
                _fetch_and_convert(entry, folder, limits, report)
    _warn_of_short_digest(entry, folder)
    return cached


def _warn_of_short_digest(entry: IndexEntry, folder: Path) -> None:
    record = _read_record(entry, folder)
    if entry.sha256 is not None and record is not None and len(entry.sha256) < len(record.original_sha256):
        logger.warning(
            "%s: its publisher names only the first %d digits of its SHA-256, which do not prove that it is the"
            " published file; the whole is %s",
            entry.name,
            len(entry.sha256),
            record.original_sha256,
        )


def verify(entry: IndexEntry, folder: Path) -> str | None:
    """Check the SHA-256 of an entry that is part of the package or in the cache.

    Returns:
        The problem, in one line, or None.

    Raises:
        WeightsError: if it is neither.
    """
    if entry.file is not None:
        path, expected, remedy = ASSETS / entry.file, entry.sha256, "install mspn again"
        if not path.is_file():
            return f"{path} is missing; {remedy}"
    elif is_present(entry, folder):
        path, remedy = cached_file(entry, folder), f"`mspn models download {entry.name}` replaces it"
        record = _read_record(entry, folder)
        if record is None:
            return f"{_record_file(entry, folder)} is missing or damaged; {remedy}"
        expected = record.sha256
    else:
        raise WeightsError(
            f"{entry.name} is not in the cache {folder}; `mspn models download {entry.name}` puts it there"
        )
    actual = sha256_of(path)
    return None if actual == expected else f"SHA-256 of {path} is {actual}, not {expected}; {remedy}"


def evict(entry: IndexEntry, folder: Path) -> None:
    """Make the next `download_weights` fetch an entry's weights again."""
    if entry.urls:
        _record_file(entry, folder).unlink(missing_ok=True)


def _fetch_and_convert(entry: IndexEntry, folder: Path, limits: Limits | None, report: Report) -> None:
    """With the lock held: write the original, the converted file, then the record, which marks them as complete."""
    from mspn.checkpoints.convert import convert_published  # noqa: PLC0415 (torch, which cached weights need not)

    assert entry.sha256 is not None
    original, url = folder / entry.filename, None
    if original.is_file():
        digest = sha256_of(original)
        if not digest.startswith(entry.sha256):
            raise WeightsError(
                f"{original} is not the published file: its SHA-256 is {digest}, not {entry.sha256}...; delete it"
            )
    else:
        # A separate folder: a partial download must not be mistaken for a file that the user put into the cache.
        original = folder / "downloads" / entry.filename
        original.parent.mkdir(exist_ok=True)
        logger.info("downloading %s into %s", entry.name, folder)
        try:
            url = download(entry.urls, original, sha256=entry.sha256, size=entry.size, limits=limits, report=report)
        except DownloadError as error:
            raise DownloadError(f"cannot download {entry.name}: {error}; {_instructions(entry, folder)}") from error
        digest = sha256_of(original)
    cached = cached_file(entry, folder)
    _record_file(entry, folder).unlink(missing_ok=True)
    try:
        convert_published(entry, original, digest, cached)
    except WeightsError:
        if url is not None:
            original.unlink()
        raise
    record = CacheRecord(sha256=sha256_of(cached), size=cached.stat().st_size, original_sha256=digest, url=url)
    write_text(_record_file(entry, folder), record.model_dump_json(indent=2) + "\n")
    if url is not None:  # a file that the user put there stays
        original.unlink()


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Say of a folder of the cache that cannot be written to how to choose another one.

    Raises:
        WeightsError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise WeightsError(
            f"cannot write to the cache {folder} ({error.strerror or error}); is there room on the disk? Another folder"
            f" can be chosen with {CACHE_VARIABLE}"
        ) from error


def _record_file(entry: IndexEntry, folder: Path) -> Path:
    return cached_file(entry, folder).with_suffix(".json")


def _read_record(entry: IndexEntry, folder: Path) -> CacheRecord | None:
    """The record beside a cached file; None if it is missing or unreadable."""
    try:
        return CacheRecord.model_validate_json(_record_file(entry, folder).read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def _instructions(entry: IndexEntry, folder: Path) -> str:
    return f"fetch {entry.urls[0]} by other means and put {entry.filename} into {folder}"


def _system_caches(platform: str, environment: Mapping[str, str], home: Path) -> Path:
    if platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    if platform == "darwin":
        return home / "Library" / "Caches"
    chosen = Path(environment.get("XDG_CACHE_HOME") or "")
    return chosen if chosen.is_absolute() else home / ".cache"
