"""Networks from their settings."""

from mspn.config.model import CPNConfig, HourglassConfig, ModelConfig, NetworkConfig, SimpleBaselineConfig
from mspn.models.base import PoseNetwork
from mspn.models.baselines import CascadedPyramid, SimpleBaseline, StackedHourglass
from mspn.models.mspn import MSPN
from mspn.models.person_detector import PersonDetector

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
