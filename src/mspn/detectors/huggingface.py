"""Object detectors of Hugging Face's transformers (the extra `transformers`)."""

from typing import Any

import numpy as np
import torch

from mspn.checkpoints.hub import is_offline
from mspn.detectors.base import MIN_SCORE, BoxSelection, require_all_categories, select_detections
from mspn.errors import DetectorError, import_extra
from mspn.structures.boxes import Detection
from mspn.structures.image import Image
from mspn.structures.settings import Settings
from mspn.structures.shapes import Float

_MAX_LABELS = 10
_MAX_REASON = 200


class TransformersSettings(Settings):
    """Settings of a transformers detector."""

    person: str = "person"
    """What the network calls people; case does not matter."""
    rule: BoxSelection = "people"
    """Which people count."""


class TransformersDetector:
    """Finds people with a network of the Hugging Face hub, or of a folder."""

    def __init__(
        self, name: str, settings: TransformersSettings | None = None, device: torch.device | None = None
    ) -> None:
        """Load the network, from the hub unless MSPN_OFFLINE is set or `name` is a folder.

        Only safetensors are read, and no code that comes with a network is run.

        Args:
            name: on the hub (owner/network), or a folder.
            settings: which label and rule.
            device: to compute on; None is the CPU.

        Raises:
            DetectorError: if transformers is not installed, there is no such network, it lacks weights, detects no
                objects, or has no label for people.
        """
        self._settings = settings or TransformersSettings()
        self._device = device or torch.device("cpu")
        self._network, self._processor = _load(name)
        self._network.to(self._device).eval()
        if not hasattr(self._processor, "post_process_object_detection"):
            raise DetectorError(f"{name} has no boxes to give; take a network for object detection")
        labels = {number: label.lower() for number, label in self._network.config.id2label.items()}
        self._people = [number for number, label in labels.items() if label == self._settings.person.lower()]
        if not self._people:
            known = ", ".join(list(labels.values())[:_MAX_LABELS])
            raise DetectorError(
                f"{name} has no label {self._settings.person!r}, but {known}"
                + (", ..." if len(labels) > _MAX_LABELS else "")
                + f"; say what it calls people: transformers:{name},person=LABEL"
            )
        if len(labels) == 1:
            require_all_categories(name, self._settings.rule)

    @torch.inference_mode()
    def detect(self, image: Image) -> list[Detection]:
        """People with a score of at least `MIN_SCORE`."""
        inputs = self._processor(images=image.pixels, input_data_format="channels_last", return_tensors="pt")
        outputs = self._network(**inputs.to(self._device))
        (result,) = self._processor.post_process_object_detection(
            outputs, threshold=MIN_SCORE, target_sizes=[tuple(image.size)]
        )
        limits = [image.size.width, image.size.height] * 2
        boxes_xyxy_image: Float[np.ndarray, "N 4"] = np.clip(result["boxes"].float().cpu().numpy(), 0, limits)
        is_person = np.isin(result["labels"].cpu().numpy(), self._people)
        return select_detections(
            boxes_xyxy_image, result["scores"].float().cpu().numpy(), is_person, self._settings.rule
        )


def _load(name: str) -> tuple[Any, Any]:
    """The network and its image processor."""
    missing = DetectorError(f"running {name} needs transformers; pip install 'mspn[transformers]'")
    transformers = import_extra("transformers", missing)
    options = {"local_files_only": is_offline(), "trust_remote_code": False}
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(name, **options)
        network, report = transformers.AutoModelForObjectDetection.from_pretrained(
            name, use_safetensors=True, output_loading_info=True, **options
        )
    except ImportError as error:
        raise DetectorError(
            f"{name} needs what is not installed here ({_in_one_line(error)}); install that, or take"
            " PekingU/rtdetr_v2_r18vd, which needs nothing more"
        ) from error
    except (OSError, ValueError) as error:
        offline = " (MSPN_OFFLINE is set, so nothing is downloaded)" if is_offline() else ""
        raise DetectorError(
            f"{name} cannot be loaded{offline}: {_in_one_line(error)}; name a folder or a network of the hub that"
            " detects objects and has safetensors"
        ) from error
    missing_keys = sorted(report["missing_keys"])
    if missing_keys:
        raise DetectorError(
            f"{name} has no weights for {missing_keys[0]} and {len(missing_keys) - 1} more; is it an object detector?"
        )
    return network, processor


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()).partition(". ")[0][:_MAX_REASON]
