import pytest
import torch

from mspn.config.model import DetectorConfig
from mspn.inference.fold import fold_norms
from mspn.models.person_detector import STRIDES, PersonDetector


def small_detector() -> PersonDetector:
    torch.manual_seed(1)
    return PersonDetector(DetectorConfig(stem_channels=8, up_channels=8)).eval()


def test_every_cell_of_three_levels_proposes_a_box():
    candidates = small_detector()(torch.zeros(2, 3, 64, 96))

    assert candidates.num_cells == [8 * 12, 4 * 6, 2 * 3]
    assert candidates.logits.shape == (2, 126)
    assert candidates.boxes.shape == (2, 126, 4)
    assert candidates.centers[0].tolist() == [4, 4]
    assert candidates.centers[1].tolist() == [12, 4]
    assert candidates.centers[-1].tolist() == [80, 48]


def test_untrained_cells_propose_nobody_and_boxes_of_four_cells():
    detector = small_detector()
    for head in detector.heads:
        for layer in (head.score, head.box):
            torch.nn.init.zeros_(layer.weight)

    candidates = detector(torch.zeros(1, 3, 32, 32))

    assert torch.allclose(candidates.logits.sigmoid(), torch.tensor(0.01))
    sizes = candidates.boxes[0, :, 2:] - candidates.boxes[0, :, :2]
    for stride, of_level in zip(STRIDES, sizes.split(candidates.num_cells), strict=True):
        assert torch.allclose(of_level, torch.tensor(4.0 * stride))


def test_boxes_stay_finite_whatever_the_weights():
    detector = small_detector()
    for head in detector.heads:
        torch.nn.init.constant_(head.box.bias, 1e4)

    assert torch.isfinite(detector(torch.zeros(1, 3, 32, 32)).boxes).all()


def test_sides_that_are_no_multiples_of_32_are_refused():
    with pytest.raises(ValueError, match="multiples of 32"):
        small_detector()(torch.zeros(1, 3, 64, 60))


def test_folded_norms_give_the_same_answers():
    detector = small_detector()
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    images = torch.randn(1, 3, 64, 64)

    folded = fold_norms(detector)

    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        ours, expected = folded(images), detector(images)
    assert torch.allclose(ours.logits, expected.logits, atol=1e-4)
    assert torch.allclose(ours.boxes, expected.boxes, atol=1e-2)
