"""Human pose estimation with multi-stage networks (MSPN)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mspn.predict.estimator import PoseEstimator
    from mspn.predict.runner import load_runner
    from mspn.weights.models import build_model, load_model

__all__ = ["PoseEstimator", "build_model", "load_model", "load_runner"]

_HOMES = {
    "PoseEstimator": "mspn.predict.estimator",
    "build_model": "mspn.weights.models",
    "load_model": "mspn.weights.models",
    "load_runner": "mspn.predict.runner",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import mspn` alone loads neither torch nor OpenCV."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mspn' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
