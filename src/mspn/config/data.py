"""Settings of labeled data sets: people for pose networks, scenes for person detectors; skeletons from YAML files."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, PositiveFloat, ValidationError, field_validator

from mspn.errors import MspnError, SkeletonError, YamlError
from mspn.io.files import read_yaml
from mspn.structures.settings import Settings, first_problem
from mspn.structures.skeleton import Skeleton, find_skeleton

_PATHS = ("annotations", "images", "skeleton", "corrections", "faces", "proposals")
"""Settings of a set that may be paths."""
_Set = TypeVar("_Set", bound="LabeledSetConfig")


class LabeledSetConfig(Settings):
    """Where a labeled data set is."""

    annotations: str
    """File, or folder where the format is one, relative to the data root."""
    images: str | None = None
    """Folder, relative to the data root; null: `images` beside the annotations, or else their own folder."""

    def without_places(self: "_Set") -> "_Set":
        """Only the names of what is elsewhere than below the data root."""
        changes = {
            key: Path(value).name for key in _PATHS if Path(value := getattr(self, key, None) or "").is_absolute()
        }
        return self.model_copy(update=changes)

    def image_folder(self, root: Path) -> Path:
        """The folder of the images, for a data root."""
        if self.images is not None:
            return root / self.images
        annotations = root / self.annotations
        beside = annotations if annotations.is_dir() else annotations.parent
        return beside / "images" if (beside / "images").is_dir() else beside


def _as_set(value: Any) -> Any:
    """A path alone is a set with everything else left as it is."""
    return {"annotations": value} if isinstance(value, str) else value


def _as_sets(value: Any) -> Any:
    values = value if isinstance(value, list | tuple) else [value]
    return [_as_set(item) for item in values]


class PeopleSetConfig(LabeledSetConfig):
    """One labeled data set, of any format that `mspn data convert` lists, or packed by `mspn data pack`."""

    subset: str | None = None
    """Name of a set in a packed file; null: all of them, with the weights that they had, times this one's."""
    format: str | None = None
    """Of the annotations; null: told from them."""
    category: str | None = None
    """Name or id of the one to read; null: the first that has keypoints, and all that have the same."""
    allow_outside: bool = False
    """Whether the annotations may name images outside the folder of images."""
    skeleton: str | None = None
    """Name or YAML file (relative to the data root) of the set's skeleton; only where the format does not say, and
    null where it is the recipe's."""
    keypoint_names: dict[str, str] = Field(default_factory=dict)
    """What the recipe calls the set's keypoints, where it calls them otherwise: {the set's name: the recipe's}."""
    corrections: str | None = None
    """File that `mspn data review` wrote for the annotations, relative to the data root: pairs of keypoints that trade
    places, keypoints that are left out. It is applied when training reads the set, before faces are added; sets to
    measure on stay as they are labeled."""
    faces: str | None = None
    """File of proposed face keypoints by annotation id, relative to the data root."""
    min_face_score: float = Field(0.3, ge=0, le=1)
    """Proposals with a lower score do not count."""
    never_labeled: tuple[str, ...] = ()
    """Keypoints that this set does not label for anybody: they never count, not even as background."""
    weight: float = Field(1.0, gt=0)
    """How often each person is drawn per epoch, on average."""

    @property
    def is_packed(self) -> bool:
        """Whether the annotations are a file of crops that `mspn data pack` wrote."""
        return self.annotations.lower().endswith(".zip")

    @property
    def name(self) -> str:
        """What people call the set: the file, and the set in it."""
        return self.annotations if self.subset is None else f"{self.annotations}/{self.subset}"


class DataConfig(Settings):
    root: str = "data"
    train: Annotated[tuple[PeopleSetConfig, ...], BeforeValidator(_as_sets)] = ()
    validation: Annotated[PeopleSetConfig | None, BeforeValidator(_as_set)] = None
    """Set whose average precision, with its labeled boxes, says which weights are the best; COCO format."""
    boxes: Literal["labeled", "image"] = "labeled"
    """What the network is shown, in training and afterwards. labeled: boxes, those of the labels, later of a detector;
    image: the whole image, for one animal or thing an image, which no detector need find."""
    order: Literal["people", "images"] = "people"
    """Of an epoch. people: each on their own, as the released code; images: those of an image one after another, so
    that it is decoded once, where reading images is what training waits for."""
    workers: int = Field(1, ge=0, le=256)
    """Processes that read and cut images for each training process; 0: it does so itself."""

    @field_validator("validation")
    @classmethod
    def _refuse_packed(cls, config: PeopleSetConfig | None) -> PeopleSetConfig | None:
        if config is not None and config.is_packed:
            raise ValueError(f"{config.annotations} is packed for training; name labels and photos to measure on")
        return config


class SceneSetConfig(LabeledSetConfig):
    """Images with boxes of people: some labeled, in a COCO file, some proposed by another detector."""

    labeled: Literal["people", "ignore"] = "people"
    """What labeled boxes are where the proposals say nothing: exact boxes of people, or too rough to learn from."""
    proposals: str | None = None
    """Table {"file name": [[left, top, width, height, score], ...]}, relative to the data root."""
    weight: float = Field(1.0, gt=0)
    """How often each image is drawn per epoch, on average."""


class SceneDataConfig(Settings):
    """Sets of images, and which proposals to believe."""

    root: str = "data"
    train: Annotated[tuple[SceneSetConfig, ...], BeforeValidator(_as_sets)] = ()
    validation: Annotated[SceneSetConfig | None, BeforeValidator(_as_set)] = None
    """Set that says which weights are the best."""
    min_person_score: float = Field(0.45, ge=0, le=1)
    """Proposals with this score are people; those below are neither people nor background."""
    workers: int = Field(1, ge=0, le=256)
    """Processes that read and compose images for each training process; 0: it does so itself."""


class SceneConfig(Settings):
    """How scenes are composed of images."""

    side: int = Field(416, ge=32, le=4096, multiple_of=32)
    """Of the square that the network is trained on, in pixels."""
    scale: tuple[PositiveFloat, PositiveFloat] = (0.6, 1.6)
    """Longer side of an image that has the scene to itself, as a share of the scene's side."""
    mosaic_probability: float = Field(0.5, ge=0, le=1)
    """Of four images side by side."""
    mosaic_scale: tuple[PositiveFloat, PositiveFloat] = (0.5, 1.3)
    paste_probability: float = Field(0.4, ge=0, le=1)
    """Of people cut out of the scene's images and pasted anywhere, one over another."""
    max_pasted: int = Field(6, ge=1, le=1000)
    paste_height: tuple[PositiveFloat, PositiveFloat] = (0.15, 0.8)
    """Height of a person who is pasted, as a share of the scene's side."""
    mirror_probability: float = Field(0.5, ge=0, le=1)
    gray_probability: float = Field(0.05, ge=0, le=1)
    max_brightness: float = Field(0.3, ge=0, lt=1)
    """Brightness, contrast and saturation change by up to this share."""
    min_person_side: float = Field(8.0, ge=0)
    """People lower than this many pixels are neither people nor background."""
    min_visible: float = Field(0.4, ge=0, le=1)
    """People of whose box less is left are neither people nor background."""


SKELETON_SUFFIXES = (".yaml", ".yml")


def named_skeleton(name_or_file: str, folder: Path = Path()) -> Skeleton:
    """A built-in skeleton by its name, or the one of a YAML file.

    Args:
        name_or_file: what ends in .yaml or .yml is a file.
        folder: where a relative path starts.

    Raises:
        SkeletonError: as `read_skeleton`, or for an unknown name.
    """
    if name_or_file.lower().endswith(SKELETON_SUFFIXES):
        return read_skeleton(folder / name_or_file)
    try:
        return find_skeleton(name_or_file)
    except MspnError as error:
        raise SkeletonError(f"{error}, and files that end in .yaml") from error


def read_skeleton(path: Path) -> Skeleton:
    """Read a skeleton file: `name`, `keypoints`, and where wanted `pairs`, `limbs`, `sigmas` and `upper`.

    Raises:
        SkeletonError: if there is no such file, or with the first thing in it that is wrong.
    """
    try:
        values = read_yaml(path)
    except YamlError as error:
        raise SkeletonError(str(error)) from error
    try:
        return parse_skeleton(values)
    except SkeletonError as error:
        raise SkeletonError(f"{path}: {error}") from error


def parse_skeleton(values: Any) -> Skeleton:
    """Check plain values.

    Raises:
        SkeletonError: with the first thing that is wrong, in one line.
    """
    try:
        return Skeleton.model_validate(values)
    except ValidationError as error:
        raise SkeletonError(first_problem(error)) from error
