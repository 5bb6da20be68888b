"""Settings of labelled data sets."""

from typing import Literal

from pydantic import Field

from mspn.settings import Settings


class PeopleSetConfig(Settings):
    """One labelled data set, of any format that `mspn data convert` lists."""

    annotations: str
    """File, or folder where the format is one, relative to the data root."""
    images: str
    """Folder, relative to the data root."""
    format: str | None = None
    """Of the annotations; null: told from them."""
    skeleton: str | None = None
    """Name or YAML file (relative to the data root) of the set's skeleton; only where the format does not say, and
    null where it is the recipe's."""
    keypoint_names: dict[str, str] = Field(default_factory=dict)
    """What the recipe calls the set's keypoints, where it calls them otherwise: {the set's name: the recipe's}."""
    corrections: str | None = None
    """File that `mspn data doubt` wrote for the annotations, relative to the data root: pairs of keypoints that trade
    places, keypoints that are left out. It is applied when training reads the set, before faces are added; sets to
    measure on stay as they are labelled."""
    faces: str | None = None
    """File of proposed face keypoints by annotation id, relative to the data root."""
    faces_from: float = Field(0.3, ge=0, le=1)
    """Proposals with a lower score do not count."""
    never_labelled: tuple[str, ...] = ()
    """Keypoints that this set does not label for anybody: they never count, not even as background."""
    weight: float = Field(1.0, gt=0)
    """How often each person is drawn per epoch, on average."""


class DataConfig(Settings):
    root: str = "data"
    train: tuple[PeopleSetConfig, ...] = ()
    validation: PeopleSetConfig | None = None
    """Set whose average precision, with its labelled boxes, says which weights are the best; COCO format."""
    order: Literal["people", "pictures"] = "people"
    """Of an epoch. people: each on their own, as the released code; pictures: those of a picture one after another, so
    that it is decoded once, where reading pictures is what training waits for."""
    workers: int = Field(1, ge=0)
    """Processes that read and cut pictures for each training process; 0: it does so itself."""
