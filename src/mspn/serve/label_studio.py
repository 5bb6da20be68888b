"""Pre-labels for Label Studio, by the protocol of its ML backends: setup, predict, health."""

import asyncio
import json
import logging
import math
import re
import threading
import time
from dataclasses import replace
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from xml.etree import ElementTree

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, ValidationError

from mspn.config.recipe import Recipe
from mspn.errors import InvalidValueError, MspnError
from mspn.io.http import FetchError, FetchRules, check_address
from mspn.labels.formats.label_studio import ControlNames, make_regions
from mspn.labels.label_set import LabeledSet
from mspn.predict.pseudo_labels import Suggestion, as_labels
from mspn.serve.answers import PeopleOptions
from mspn.serve.limits import RequestError, ServeLimits, Upload, fetch_upload, read_form
from mspn.serve.routes import ServiceOf, until_left
from mspn.serve.service import Service
from mspn.structures.image import Image
from mspn.structures.pose import Pose
from mspn.structures.settings import Settings
from mspn.structures.skeleton import Skeleton, match_keypoints

PREFIX = "/v1/label-studio"
"""Where Label Studio is told to find its ML backend."""
_MAX_TASKS = 1000
_MAX_CONFIG = 2**20
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")
"""Form of personal access tokens."""
_ACCESS_SECONDS = 120.0
"""What an access token is used for, which lasts for five minutes."""

logger = logging.getLogger(__name__)


class LabelStudio(Settings):
    """The Label Studio whose tasks are pre-labeled."""

    address: str
    """Such as http://localhost:8080; the images of tasks are fetched from there alone."""
    token: str | None = None
    """Of one of its users, who may see the images: a personal access token or a legacy one."""

    def locate(self, image: str) -> str:
        """The address of a task's image.

        Raises:
            RequestError: if it is at another place.
        """
        home, place = urlsplit(self.address), urlsplit(image)
        if image.startswith("/") and not place.netloc:
            return f"{self.address.rstrip('/')}{image}"
        if (place.scheme, place.netloc) == (home.scheme, home.netloc):
            return image
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"the image {image[:80]!r} is not at {self.address}; add it as a local file, an upload, or storage that"
            " Label Studio proxies",
        )


class ImageAccess:
    """What the service shows Label Studio, to be given the images of tasks.

    A personal access token is exchanged for one that is good for five minutes; a legacy token is shown as it is.
    """

    def __init__(self, place: LabelStudio) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._headers: dict[str, str] = {}
        self._until = -math.inf

    def headers(self, limits: ServeLimits) -> dict[str, str]:
        """For requests of images.

        Raises:
            RequestError: if Label Studio does not take the personal access token, or cannot be reached.
        """
        token = self.place.token
        if token is None:
            return {}
        if not _JWT.fullmatch(token):
            return {"Authorization": f"Token {token}"}
        with self._lock:
            if time.monotonic() >= self._until:
                self._headers = {"Authorization": f"Bearer {self._exchange(token, limits)}"}
                self._until = time.monotonic() + _ACCESS_SECONDS
            return self._headers

    def _exchange(self, token: str, limits: ServeLimits) -> str:
        url = f"{self.place.address.rstrip('/')}/api/token/refresh"
        body = json.dumps({"refresh": token}).encode()
        try:
            answer = fetch_upload(url, limits, headers={"Content-Type": "application/json"}, body=body, is_own=True)
            return _AccessToken.model_validate_json(answer.encoded).access
        except (RequestError, ValidationError) as error:
            raise RequestError(
                HTTPStatus.BAD_GATEWAY, f"{self.place.address} does not take the personal access token; make a new one"
            ) from error


def label_studio_at(address: str, token: str | None) -> LabelStudio:
    """The Label Studio at an address.

    Raises:
        InvalidValueError: if it is no address of the web.
    """
    try:
        check_address(address, FetchRules(0, 0, 0))
    except FetchError as error:
        raise InvalidValueError(f"--label-studio {address}: {error.message}; such as http://localhost:8080") from error
    return LabelStudio(address=address, token=token)


class Interface(NamedTuple):
    """What a project's labeling interface asks for."""

    image_key: str
    """Of the image's address in a task's data."""
    names: ControlNames
    labels: dict[str, str]
    """The network's keypoint of each label that it knows."""
    category: str
    """Label of rectangles; empty: there are none."""


def read_interface(config: str, skeleton: Skeleton) -> Interface:
    """What a labeling interface (XML) asks for of a network with these keypoints.

    Raises:
        InvalidValueError: if it is no XML, has no keypoints on an image, or none that the network knows.
    """
    if len(config) > _MAX_CONFIG or "<!DOCTYPE" in config or "<!ENTITY" in config:
        raise InvalidValueError("the labeling interface is too long, or defines entities, which Label Studio's do not")
    try:
        root = ElementTree.fromstring(config)
    except ElementTree.ParseError as error:
        raise InvalidValueError(f"the labeling interface is not XML ({error}); save the project's settings") from error
    images = {image.get("name", ""): image.get("value", "") for image in root.iter("Image")}
    keypoints = next((tag for tag in root.iter("KeyPointLabels") if tag.get("toName") in images), None)
    if keypoints is None:
        raise InvalidValueError(
            'the labeling interface has no KeyPointLabels on an Image; add <Image name="image" value="$image"/> and'
            ' <KeyPointLabels name="keypoints" toName="image"> with a Label for each keypoint'
        )
    image = keypoints.get("toName", "")
    known = match_keypoints(skeleton.keypoints, _values(keypoints))
    if not known:
        raise InvalidValueError(
            f"the network knows none of the labels {', '.join(_values(keypoints))}; it has"
            f" {', '.join(skeleton.keypoints)}"
        )
    rectangles = next((tag for tag in root.iter("RectangleLabels") if tag.get("toName") == image), None)
    categories = [] if rectangles is None else _values(rectangles)
    return Interface(
        image_key=images[image].removeprefix("$"),
        names=ControlNames(image, keypoints.get("name", ""), None if rectangles is None else rectangles.get("name")),
        labels=known,
        category=next((name for name in categories if name == skeleton.category), categories[0] if categories else ""),
    )


def _values(control: ElementTree.Element) -> list[str]:
    return [value for label in control.iter("Label") if (value := label.get("value"))]


def pre_label(image: Image, poses: list[Pose], recipe: Recipe, interface: Interface) -> dict[str, Any]:
    """A prediction of Label Studio: regions, and how sure the network is."""
    suggestion = Suggestion("", image.size, poses)
    labels = as_labels([suggestion], recipe)
    columns = [labels.skeleton.keypoints.index(name) for name in interface.labels.values()]
    shown = LabeledSet(
        Skeleton(name="interface", keypoints=tuple(interface.labels)), labels.images, [], category=interface.category
    )
    regions = [
        region
        for person in labels.people
        for region in make_regions(
            replace(person, keypoints_image=person.keypoints_image[columns]), shown, image.size, interface.names
        )
    ]
    return {"result": regions, "score": suggestion.certainty}


class _AccessToken(BaseModel):
    access: str


class _Setup(BaseModel):
    schema_: str | None = Field(None, alias="schema")


class _Task(BaseModel):
    data: dict[str, Any]


class _Predict(BaseModel):
    tasks: list[_Task] = Field(max_length=_MAX_TASKS)
    label_config: str


router = APIRouter(prefix=PREFIX)


async def _pre_label(task: _Task, interface: Interface, access: ImageAccess, service: Service) -> dict[str, Any]:
    address = task.data.get(interface.image_key)
    if not isinstance(address, str):
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"the task has no address in data[{interface.image_key!r}], as its interface says",
        )
    url = access.place.locate(address)

    def fetch() -> Upload:
        return fetch_upload(url, service.limits, headers=access.headers(service.limits), is_own=True)

    def finish(image: Image, poses: list[Pose]) -> dict[str, Any]:
        return pre_label(image, poses, service.estimator.recipe, interface)

    upload = await asyncio.get_running_loop().run_in_executor(None, fetch)
    (prediction,) = await service.answer([upload], PeopleOptions(), finish)
    return prediction


@router.get("/health", summary="For Label Studio: whether its ML backend lives")
async def health() -> dict[str, str]:
    return {"status": "UP", "model_class": "mspn"}


@router.post("/setup", summary="For Label Studio: whether a labeling interface fits the network")
async def setup(request: Request, service: ServiceOf) -> dict[str, str]:
    asked = await read_form(request, service.limits, _Setup)
    if asked.schema_:
        read_interface(asked.schema_, service.estimator.recipe.keypoint_table)
    return {"model_version": service.model}


@router.post("/webhook", summary="For Label Studio: takes note of nothing")
async def webhook() -> dict[str, str]:
    """Label Studio tells of every annotation; training is started by people."""
    return {}


@router.post("/predict", summary="For Label Studio: pre-labels of tasks")
async def predict(request: Request, service: ServiceOf) -> dict[str, Any]:
    asked = await read_form(request, service.limits, _Predict)
    interface = read_interface(asked.label_config, service.estimator.recipe.keypoint_table)
    access: ImageAccess = request.app.state.label_studio
    results = []
    problems: list[MspnError] = []
    for task in asked.tasks:
        try:
            prediction = await until_left(request, service, _pre_label(task, interface, access, service))
        except MspnError as error:
            logger.warning("a task without pre-labels: %s", error)
            problems.append(error)
            prediction = {"result": [], "score": 0.0}
        results.append({**prediction, "model_version": service.model})
    if problems and len(problems) == len(asked.tasks):
        raise problems[0]
    return {"results": results, "model_version": service.model}
