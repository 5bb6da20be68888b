"""What the service answers: poses as JSON or drawn, heat maps of all stages, the network and the interface in words."""

import base64
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from pydantic import ConfigDict, Field, FiniteFloat, model_validator

from mspn.checkpoints.index import ASSETS
from mspn.checkpoints.networks import load_named
from mspn.errors import InvalidValueError
from mspn.inference.exported_files import SUFFIXES
from mspn.models.base import normalize
from mspn.outputs.tables import describe_result
from mspn.predict.ensemble import crop_frame
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import ImageResult
from mspn.structures.crop import cut_crop
from mspn.structures.image import Image
from mspn.structures.pose import Pose, round_coordinates
from mspn.structures.settings import Settings
from mspn.structures.shapes import UInt8
from mspn.structures.skeleton import Skeleton, find_skeleton, match_keypoints
from mspn.visualize.contact_sheet import enlarge_crop, overlay_heatmaps
from mspn.visualize.themes import THEMES, color_skeleton

PAGE = ASSETS / "page"
"""Files of the page, which its tests and `mspn page` read too."""


class PeopleOptions(Settings):
    """Who counts, as the query of the address says."""

    model_config = ConfigDict(defer_build=False)  # FastAPI needs it whole

    threshold: float | None = Field(None, ge=0, le=1, description="Lowest score of a detection.")
    max_people: int | None = Field(None, ge=1, description="At most as many people: those of the highest scores.")


class PoseOptions(PeopleOptions):
    """What a client may ask for."""

    keypoints: str | None = Field(
        None, max_length=100, description="Skeleton whose names the keypoints get, such as coco-17 or mpii-16."
    )


class ImageOptions(PoseOptions):
    """Options of an image that comes alone."""

    draw: bool = Field(False, description="Answer the image with the skeletons drawn, as a JPEG, in place of JSON.")
    theme: str = Field("sides", description=f"Colors of the drawing, of {', '.join(THEMES)}.")
    url: str | None = Field(
        None,
        max_length=2000,
        description="Address of the image, in place of a body; the service may refuse to fetch.",
    )


class HeatmapOptions(PeopleOptions):
    """Whose heat maps are shown."""

    person: int = Field(0, ge=0, description="Number among the people of /v1/poses with the same options, from 0 on.")
    x: FiniteFloat | None = Field(None, description="With y, in pixels: people count from the one nearest to there.")
    y: FiniteFloat | None = Field(None, description="With x.")

    @model_validator(mode="after")
    def _check_place(self) -> "HeatmapOptions":
        if (self.x is None) != (self.y is None):
            raise ValueError("x and y make a place together; give both, or none")
        return self


def find_names(keypoints: str | None, skeleton: Skeleton) -> dict[str, str]:
    """The network's name of each keypoint of an answer, by the name that it gets there.

    Args:
        keypoints: name of the skeleton that a client asked for; None: the network's own.
        skeleton: the network's.

    Raises:
        InvalidValueError: if there is no such skeleton, or the network has none of its keypoints.
    """
    if keypoints is None:
        return {name: name for name in skeleton.keypoints}
    names = match_keypoints(skeleton.keypoints, find_skeleton(keypoints).keypoints)
    if not names:
        raise InvalidValueError(f"the network has no keypoint of {keypoints}; it has {', '.join(skeleton.keypoints)}")
    return names


def describe_poses(image: Image, poses: Sequence[Pose], names: dict[str, str]) -> dict[str, Any]:
    """One entry of `predictions.json`, its keypoints chosen and named by `find_names`."""
    entry = describe_result(ImageResult(image.source, image, list(poses), []))
    for person in entry["people"]:
        person["keypoints"] = {name: person["keypoints"][own] for name, own in names.items()}
    return entry


def describe_model(name: str, estimator: PoseEstimator) -> dict[str, Any]:
    """A network: its keypoints and limbs with their colors in each theme, its input, how it is run."""
    height, width = estimator.recipe.model.input_size
    return {
        "name": name,
        "recipe": estimator.recipe.name,
        "skeleton": describe_skeleton(estimator.recipe.keypoint_table),
        "input_size": {"width": width, "height": height},
        "threshold": estimator.top_down.threshold,
        "engine": estimator.engine,
        "precision": estimator.precision,
    }


def describe_skeleton(skeleton: Skeleton) -> dict[str, Any]:
    """Keypoints, and limbs by their indices, with their colors in each theme: what draws people."""
    return {
        "name": skeleton.name,
        "keypoints": list(skeleton.keypoints),
        "edges": [list(limb) for limb in skeleton.limb_indices],
        "colors": {theme: _describe_colors(theme, skeleton) for theme in THEMES},
    }


_NUM_PEOPLE = 8
"""Whose colors are described, of themes that color by person; the next get them again."""


def _describe_colors(name: str, skeleton: Skeleton) -> dict[str, Any]:
    theme = THEMES[name]
    num_people = _NUM_PEOPLE if theme.colored_by == "person" else 1
    colors = [color_skeleton(theme, skeleton, person) for person in range(num_people)]
    return {
        "colored_by": theme.colored_by,
        "keypoints": [[list(color) for color in keypoints] for keypoints, _ in colors],
        "edges": [[list(color) for color in edges] for _, edges in colors],
        "outline_opacity": theme.outline_opacity,
        "brightness": theme.brightness,
    }


class HeatmapPainter:
    """Shows what every stage and level of a network sees of a person, as the paper's Figure 4."""

    def __init__(self, model: str) -> None:
        """Load a network with all its heads, which those that only estimate poses do without."""
        if model.lower().endswith(SUFFIXES):
            raise InvalidValueError(f"{model} is exported and has no heat maps of its stages; serve its weights")
        checkpoint = load_named(model)
        self._network = checkpoint.model
        self._recipe = checkpoint.metadata.recipe

    @torch.inference_mode()
    def paint(self, image: Image, pose: Pose) -> dict[str, Any]:
        """Stages, each a list of levels from coarse to fine: all keypoints' maps over the dimmed crop, as a PNG.

        `box` is the part of the image, in its pixels, that each of them shows.
        """
        frame = crop_frame(self._recipe, self._recipe.test, pose.box, image.size)
        crop = cut_crop(image.pixels, frame)
        outputs = self._network(normalize(torch.from_numpy(crop)[None]))
        panel, _ = enlarge_crop(crop)
        skeleton = self._recipe.keypoint_table
        stages = [
            [
                {"keypoint_max": _png_address(overlay_heatmaps(panel, maps[0].clamp(0, 1), skeleton))}
                for maps in reversed(levels)
            ]
            for levels in outputs
        ]
        (x, y), width, height = frame.center_image, frame.width_image, frame.height_image
        return {"stages": stages, "box": round_coordinates(x - width / 2, y - height / 2, width, height)}


def _png_address(pixels: UInt8[np.ndarray, "H W 3"]) -> str:
    done, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert done
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()


def render_api_page(description: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI description: each route with its options, answers and examples."""
    routes = [
        {"path": path, "method": method.upper(), **operation}
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
    ]
    return _load_template().render(info=description["info"], routes=routes)


@cache
def _load_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["pretty"] = lambda value: json.dumps(value, indent=2)
    return environment.get_template("api_page.html.j2")
