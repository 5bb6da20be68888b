"""Human pose estimation with multi-stage networks (MSPN)."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mspn.batch.dataset import predict_dataset
    from mspn.checkpoints.networks import build_model, load_model
    from mspn.errors import MspnError
    from mspn.inference.runner import load_runner
    from mspn.outputs.adapters import browse, show_poses, to_dataframe
    from mspn.outputs.track_exports import to_movement
    from mspn.outputs.track_tables import read_tracks
    from mspn.predict.estimator import PoseEstimator
    from mspn.predict.pipeline import ImageResult
    from mspn.structures.boxes import Box, Detection, Size
    from mspn.structures.image import Image
    from mspn.structures.pose import Pose
    from mspn.structures.skeleton import Skeleton
    from mspn.tracking.kinematics import measure_kinematics
    from mspn.tracking.one_euro import OneEuroFilter
    from mspn.tracking.smoothing import smooth_tracks
    from mspn.tracking.tracker import Tracker
    from mspn.visualize.draw import draw_poses

__version__ = "0.1.0"

# Else onnxruntime, once it is imported, reports to its makers, and keeps a number for the user in the home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "Box",
    "Detection",
    "Image",
    "ImageResult",
    "MspnError",
    "OneEuroFilter",
    "Pose",
    "PoseEstimator",
    "Size",
    "Skeleton",
    "Tracker",
    "__version__",
    "browse",
    "build_model",
    "draw_poses",
    "load_model",
    "load_runner",
    "measure_kinematics",
    "predict_dataset",
    "read_tracks",
    "show_poses",
    "smooth_tracks",
    "to_dataframe",
    "to_movement",
]

_MODULES = {
    "Box": "mspn.structures.boxes",
    "Detection": "mspn.structures.boxes",
    "Image": "mspn.structures.image",
    "ImageResult": "mspn.predict.pipeline",
    "MspnError": "mspn.errors",
    "OneEuroFilter": "mspn.tracking.one_euro",
    "Pose": "mspn.structures.pose",
    "PoseEstimator": "mspn.predict.estimator",
    "Size": "mspn.structures.boxes",
    "Skeleton": "mspn.structures.skeleton",
    "Tracker": "mspn.tracking.tracker",
    "browse": "mspn.outputs.adapters",
    "build_model": "mspn.checkpoints.networks",
    "draw_poses": "mspn.visualize.draw",
    "load_model": "mspn.checkpoints.networks",
    "load_runner": "mspn.inference.runner",
    "measure_kinematics": "mspn.tracking.kinematics",
    "predict_dataset": "mspn.batch.dataset",
    "read_tracks": "mspn.outputs.track_tables",
    "show_poses": "mspn.outputs.adapters",
    "smooth_tracks": "mspn.tracking.smoothing",
    "to_dataframe": "mspn.outputs.adapters",
    "to_movement": "mspn.outputs.track_exports",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import mspn` alone loads neither torch nor OpenCV."""
    if name not in _MODULES:
        raise AttributeError(f"module 'mspn' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
