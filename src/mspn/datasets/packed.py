"""Packed files: one ZIP file of people's crops with their labels, read by offset; `mspn.datasets.packing` writes it.

pack.json says what was packed, and for which crops. Each set is a folder of it: `annotations.json`, COCO keypoints
whose images are the crops, and the crops beside it, stored without further compression.
"""

import hashlib
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

import numpy as np
from filelock import FileLock
from pydantic import Field, ValidationError

from mspn.checkpoints.hub import cache_folder
from mspn.config.data import PeopleSetConfig
from mspn.config.recipe import Recipe
from mspn.config.train import AugmentationConfig
from mspn.datasets.augmentation import reach_of_frames
from mspn.errors import AnnotationError, import_extra
from mspn.io.files import replacing
from mspn.io.limits import scheme_of
from mspn.labels.formats.coco import parse_coco
from mspn.labels.label_set import LabeledSet
from mspn.labels.reading import paused_collection
from mspn.structures.boxes import Box, Size
from mspn.structures.settings import Settings, first_problem
from mspn.structures.shapes import Float, Int

INDEX_FILE, LABELS_FILE = "pack.json", "annotations.json"
MAX_SETS = 1000
_MAX_INDEX_BYTES = 2**20
_MAX_LABELS_BYTES = 2**29
"""Of a set's labels, unpacked; COCO's 150,000 people take a fifth of it."""
_DIGITS = 16
"""Of the digest of an address in the cache."""
_COMMON_STEMS = ("annotations", "labels", "data", "joints")
_MAX_NAME_LETTERS = 80
_NUM_CHECKED = 100
"""So many people tell whether crops reach further than what was packed."""
_MEMBER_HEADER = struct.Struct("<4s22xHH")
"""Of a file in a ZIP file: the sign, and how many bytes of the name and of further fields follow before the content."""
_SIGN_OF_MEMBER = b"PK\3\4"
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, RuntimeError, ValueError, OSError)
"""What Python's reader raises for open files that are damaged, or made to confuse it."""


class PackedSet(Settings):
    """One set of a packed file."""

    name: Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=100)]
    """Of its folder."""
    weight: float = Field(1.0, gt=0)
    """How often each person is drawn per epoch, on average."""


class PackIndex(Settings):
    """What pack.json holds."""

    format: Literal[1] = 1
    sets: Annotated[tuple[PackedSet, ...], Field(min_length=1, max_length=MAX_SETS)]
    input_size: Size
    """Of the crops that the network trains on."""
    augmentation: AugmentationConfig
    """Crops show as much around the people as this needs."""


def name_sets(configs: Sequence[PeopleSetConfig]) -> list[str]:
    """A name for each set: of its file, or of the folder where the file is called as everybody's."""
    names: list[str] = []
    for config in configs:
        path = PurePath(config.annotations)
        name = path.parent.name if path.stem in _COMMON_STEMS and path.parent.name else path.stem
        name = re.sub(r"[^\w.-]+", "-", name).strip(".-")[:_MAX_NAME_LETTERS] or "set"
        repeats = sum(re.sub(r"-\d+$", "", other) == name or other == name for other in names)
        names.append(f"{name}-{repeats + 1}" if repeats else name)
    return names


class Pack:
    """An open packed file."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive
        content = _parse(f"{path}/{INDEX_FILE}", self._read(INDEX_FILE, _MAX_INDEX_BYTES))
        try:
            self.index = PackIndex.model_validate(content)
        except ValidationError as error:
            raise AnnotationError(
                f"{path}/{INDEX_FILE}: {first_problem(error, 'the file')}; `mspn data pack` writes such files"
            ) from error

    def find_set(self, name: str | None) -> PackedSet:
        """The set of that name; without a name the only one.

        Raises:
            AnnotationError: if there is none, or a name is needed.
        """
        sets = self.index.sets
        if name is None and len(sets) == 1:
            return sets[0]
        found = next((packed for packed in sets if packed.name == name), None)
        if found is None:
            what = "several sets, of which subset names one" if name is None else f"no set {name!r}"
            raise AnnotationError(f"{self.path} has {what}; it has {', '.join(packed.name for packed in sets)}")
        return found

    def read_labels(self, name: str) -> LabeledSet:
        """Labels of a set, in pixels of the crops.

        Raises:
            AnnotationError: as `read_coco`, or if they are not there.
        """
        member = f"{name}/{LABELS_FILE}"
        path = self.path / member
        return parse_coco(path, _parse(str(path), self._read(member, _MAX_LABELS_BYTES)))

    def find_spans(self, name: str, file_names: Sequence[str]) -> Int[np.ndarray, "P 2"]:
        """First byte and number of bytes of a set's crops in the file.

        Raises:
            AnnotationError: if one is not there as it should be.
        """
        end = self.path.stat().st_size
        spans = np.zeros((len(file_names), 2), np.int64)
        with self.path.open("rb") as file:
            for span, file_name in zip(spans, file_names, strict=True):
                where = f"{self.path}/{name}/{file_name}"
                member = self._archive.NameToInfo.get(f"{name}/{file_name}")
                if member is None or "/" in file_name or not 0 <= member.header_offset < end:
                    raise AnnotationError(f"{where} is not in the file; pack the set again")
                file.seek(member.header_offset)
                header = file.read(_MEMBER_HEADER.size).ljust(_MEMBER_HEADER.size, b"\0")
                sign, name_bytes, further_bytes = _MEMBER_HEADER.unpack(header)
                if member.compress_type != zipfile.ZIP_STORED or sign != _SIGN_OF_MEMBER:
                    raise AnnotationError(f"{where} is not stored as it is; pack the set again")
                start = member.header_offset + len(header) + name_bytes + further_bytes
                if not 0 < member.file_size <= end - start:
                    raise AnnotationError(f"{where} is cut short; copy the file again")
                span[:] = start, member.file_size
        return spans

    def check_recipe(
        self, recipe: Recipe, boxes: Float[np.ndarray, "N 4"], keypoints_image: Float[np.ndarray, "N K 3"]
    ) -> None:
        """Refuse a recipe whose crops show more of the photos than was packed.

        Args:
            recipe: to train.
            boxes: of people of the file.
            keypoints_image: of the same.

        Raises:
            AnnotationError: naming the settings.
        """
        skeleton, index = recipe.keypoint_table, self.index
        if (recipe.model.input_size, recipe.augmentation) == (index.input_size, index.augmentation):
            return
        for box, keypoints in zip(boxes[:_NUM_CHECKED], keypoints_image[:_NUM_CHECKED], strict=True):
            whole = Box(*box.tolist())
            needed = reach_of_frames(whole, keypoints, recipe.model.input_size, recipe.augmentation, skeleton)
            packed = reach_of_frames(whole, keypoints, index.input_size, index.augmentation, skeleton)
            slack = 0.01 * max(whole.width, whole.height)
            if (
                min(needed.left - packed.left, needed.top - packed.top) < -slack
                or max(
                    needed.left + needed.width - packed.left - packed.width,
                    needed.top + needed.height - packed.top - packed.height,
                )
                > slack
            ):
                raise AnnotationError(
                    f"{self.path} was packed for other crops (augmentation.*, model.input_size): those of"
                    f" {recipe.name} reach beyond what it shows of the photos; pack the photos for this recipe"
                )

    def _read(self, member: str, max_bytes: int) -> bytes:
        try:
            with self._archive.open(member) as file:
                content = file.read(max_bytes + 1)
        except _DAMAGE as error:
            raise AnnotationError(
                f"{self.path} has no {member} that can be read; is it a whole file of `mspn data pack`?"
            ) from error
        if len(content) > max_bytes:
            raise AnnotationError(f"{self.path}/{member} has more than {max_bytes // 2**20} MiB; pack fewer people")
        return content


@contextmanager
def open_pack(path: Path) -> Iterator[Pack]:
    """Open a packed file.

    Raises:
        AnnotationError: if there is none, or it is of another kind.
    """
    if not path.is_file():
        raise AnnotationError(f"no packed file at {path}; set data.train or data.root")
    with path.open("rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        except _DAMAGE as error:
            raise AnnotationError(f"{path} is no ZIP file, or it is cut short; `mspn data pack` writes one") from error
        yield Pack(path, archive)


def with_packed_sets(recipe: Recipe) -> Recipe:
    """The recipe with each packed file of `data.train` replaced by its sets, unless one of them is named.

    Files of addresses are copied into the cache first.

    Raises:
        AnnotationError: as `open_pack`.
        FileError: if an address cannot be read, or there is no room for the copy.
    """
    sets: list[PeopleSetConfig] = []
    for named in recipe.data.train:
        config = _on_this_machine(named, recipe.data.root) if named.is_packed else named
        if not config.is_packed or config.subset is not None:
            sets.append(config)
            continue
        with open_pack(Path(recipe.data.root) / config.annotations) as pack:
            sets += [
                config.model_copy(update={"subset": packed.name, "weight": packed.weight * config.weight})
                for packed in pack.index.sets
            ]
    data = recipe.data.model_copy(update={"train": tuple(sets)})
    return recipe.model_copy(update={"data": data})


def _on_this_machine(config: PeopleSetConfig, root: str) -> PeopleSetConfig:
    """The same set, of a local file if its own, or the data root, is an address such as s3://bucket/people.zip."""
    address = config.annotations if scheme_of(config.annotations) else f"{root.rstrip('/')}/{config.annotations}"
    if scheme_of(address) is None:
        return config
    return config.model_copy(update={"annotations": str(copy_to_cache(address))})


def copy_to_cache(address: str) -> Path:
    """A copy of an address's file on this machine, which the first process makes that asks; the others wait for it.

    A file that has changed since is copied anew.

    Raises:
        AnnotationError: if nothing is there, or pyarrow is not installed.
        FileError: if it cannot be read, or there is no room for it.
    """
    import_extra("pyarrow", AnnotationError(f"reading {address} needs pyarrow; pip install 'mspn[parquet]'"))
    from mspn.io.storage import Storage, explained  # noqa: PLC0415 (an extra)

    file = Storage.of(address)
    with explained(file.name):
        version = file.version()
        if version is None:
            raise AnnotationError(f"no packed file at {file.name}; set data.train or data.root")
        digest = hashlib.sha256(f"{file.name} {version}".encode()).hexdigest()[:_DIGITS]
        copy = cache_folder() / "packed" / digest / PurePath(file.root).name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(copy.parent / ".lock"):
            if not copy.is_file():
                with replacing(copy) as temporary, temporary.open("w+b") as target:
                    file.copy_to(target)
    return copy


@paused_collection()
def _parse(where: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{where} is not JSON ({error}); is the file whole?") from error
