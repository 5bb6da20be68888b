"""Settings of labelled data sets."""

from pydantic import Field

from mspn.settings import Settings


class PeopleSetConfig(Settings):
    """One labelled data set, COCO keypoint JSON."""

    annotations: str
    """File, relative to the data root."""
    images: str
    """Folder, relative to the data root."""
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
    workers: int = Field(1, ge=0)
    """Processes that read and cut pictures for each training process; 0: it does so itself."""
