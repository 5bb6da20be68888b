"""Networks from their settings."""

from mspn.model.cascaded_pyramid import CascadedPyramid
from mspn.model.hourglass import StackedHourglass
from mspn.model.network import MSPN
from mspn.model.person_detector import PersonDetector
from mspn.model.pose_network import PoseNetwork
from mspn.model.simple_baseline import SimpleBaseline
from mspn.model_config import CPNConfig, HourglassConfig, ModelConfig, NetworkConfig, SimpleBaselineConfig

AnyNetwork = PoseNetwork | PersonDetector


def build_network(config: NetworkConfig) -> PoseNetwork:
    """Build an untrained pose network."""
    match config:
        case ModelConfig():
            return MSPN(config)
        case HourglassConfig():
            return StackedHourglass(config)
        case SimpleBaselineConfig():
            return SimpleBaseline(config)
        case CPNConfig():
            return CascadedPyramid(config)
