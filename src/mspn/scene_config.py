"""Settings of the pictures that a person detector learns from."""

from typing import Literal

from pydantic import Field, PositiveFloat

from mspn.settings import Settings


class SceneSetConfig(Settings):
    """Pictures with boxes of people: some labelled, some proposed by another detector."""

    annotations: str
    """COCO file, relative to the data root; its boxes are labelled."""
    images: str
    """Folder, relative to the data root."""
    labelled: Literal["people", "doubtful"] = "people"
    """What labelled boxes are where the proposals say nothing: exact boxes of people, or too rough to learn from."""
    proposals: str | None = None
    """Table {"file name": [[left, top, width, height, score], ...]}, relative to the data root."""
    weight: float = Field(1.0, gt=0)
    """How often each picture is drawn per epoch, on average."""


class SceneDataConfig(Settings):
    """Sets of pictures, and which proposals to believe."""

    root: str = "data"
    train: tuple[SceneSetConfig, ...] = ()
    validation: SceneSetConfig | None = None
    """Set that says which weights are the best."""
    people_from: float = Field(0.45, ge=0, le=1)
    """Proposals with this score are people; those below are neither people nor background."""
    workers: int = Field(1, ge=0)
    """Processes that read and compose pictures for each training process; 0: it does so itself."""


class SceneConfig(Settings):
    """How scenes are composed of pictures."""

    side: int = Field(416, ge=32, multiple_of=32)
    """Of the square that the network is trained on, in pixels."""
    scale: tuple[PositiveFloat, PositiveFloat] = (0.6, 1.6)
    """Longer side of a picture that has the scene to itself, as a share of the scene's side."""
    mosaic_probability: float = Field(0.5, ge=0, le=1)
    """Of four pictures side by side."""
    mosaic_scale: tuple[PositiveFloat, PositiveFloat] = (0.5, 1.3)
    paste_probability: float = Field(0.4, ge=0, le=1)
    """Of people cut out of the scene's pictures and pasted anywhere, one over another."""
    most_pasted: int = Field(6, ge=1)
    paste_height: tuple[PositiveFloat, PositiveFloat] = (0.15, 0.8)
    """Height of a person who is pasted, as a share of the scene's side."""
    mirror_probability: float = Field(0.5, ge=0, le=1)
    grey_probability: float = Field(0.05, ge=0, le=1)
    max_brightness: float = Field(0.3, ge=0, lt=1)
    """Brightness, contrast and saturation change by up to this share."""
    smallest_person: float = Field(8.0, ge=0)
    """People lower than this many pixels are neither people nor background."""
    least_visible: float = Field(0.4, ge=0, le=1)
    """People of whose box less is left are neither people nor background."""
