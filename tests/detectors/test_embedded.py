import numpy as np
import pytest
import torch

from mspn.config.model import DetectorConfig
from mspn.detectors.embedded import EmbeddedPersonDetector
from mspn.models.person_detector import PersonDetector
from mspn.structures.image import Image

CPU = torch.device("cpu")


def detector_that_sees(score_at: tuple[int, int, int] | None) -> PersonDetector:
    """One whose cell (row, column) of a level proposes a box of two cells each way with score 0.9, others nothing."""
    network = PersonDetector(DetectorConfig(stem_channels=8, up_channels=8, longer_side=64)).eval()

    def answer(_module: object, inputs: tuple[torch.Tensor], output: object) -> object:
        logits = output.logits.clone().fill_(-20.0)
        boxes = output.boxes.clone()
        if score_at is not None:
            level, row, column = score_at
            stride = (8, 16, 32)[level]
            width = inputs[0].shape[-1] // stride
            cell = sum(output.num_cells[:level]) + row * width + column
            logits[:, cell] = np.log(9.0)
            center = output.centers[cell]
            boxes[:, cell] = torch.cat([center - 2 * stride, center + 2 * stride])
        return output._replace(logits=logits, boxes=boxes)

    network.register_forward_hook(answer)
    return network


def find(network: PersonDetector, height: int, width: int) -> list[tuple[list[float], float]]:
    finder = EmbeddedPersonDetector(network, CPU, "float32")
    detections = finder.detect(Image("", np.zeros((height, width, 3), np.uint8)))
    return [(list(detection.box), detection.score) for detection in detections]


def test_boxes_come_back_in_image_pixels():
    # An image of 128 x 96 is scaled by 1/2. Level 0, row 2, column 3: center (28, 20), reach 16 in the input.
    ((box, score),) = find(detector_that_sees((0, 2, 3)), height=96, width=128)

    assert box == pytest.approx([24, 8, 64, 64])
    assert score == pytest.approx(0.9 * (0.5 / 2.5) ** 0.3)  # supported by itself alone


def test_images_are_seen_at_the_size_that_is_asked_for():
    # The network's own 64 would halve the image; at 128 pixels the cell's box, 12 to 44 by 4 to 36, is the image's.
    finder = EmbeddedPersonDetector(detector_that_sees((0, 2, 3)), CPU, "float32", longer_side=128)

    (person,) = finder.detect(Image("", np.zeros((96, 128, 3), np.uint8)))

    assert person.box == pytest.approx([12, 4, 32, 32])


def test_boxes_end_at_the_image():
    # Row 0, column 0: center (4, 4), from -12 to 20; in the image of twice the size, from 0 to 40.
    ((box, _),) = find(detector_that_sees((0, 0, 0)), height=96, width=128)

    assert box == pytest.approx([0, 0, 40, 40])


def test_nobody_in_the_image_is_an_empty_list():
    assert find(detector_that_sees(None), height=50, width=70) == []


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 400), (400, 1), (2000, 30)])
def test_images_of_any_shape_are_taken(height: int, width: int):
    assert find(detector_that_sees(None), height, width) == []


def test_of_boxes_of_the_same_person_the_best_stays_and_the_other_supports_it():
    network = detector_that_sees((0, 2, 3))

    def repeat(_module: object, _inputs: object, output: object) -> object:
        cell = int(output.logits[0].argmax())
        logits, boxes = output.logits.clone(), output.boxes.clone()
        logits[:, cell + 1], boxes[:, cell + 1] = 0.0, boxes[:, cell] + 1
        return output._replace(logits=logits, boxes=boxes)

    network.register_forward_hook(repeat)

    ((box, score),) = find(network, height=96, width=128)
    # Both are 32 wide and high, and have 31 x 31 in common.
    excess = 31**2 / (2 * 32**2 - 31**2) - 0.5
    own, other = 0.5 * 0.9**2, excess * 0.5**2
    assert score == pytest.approx(0.9 * ((own + other) / 0.9**2 / 2.5) ** 0.3)
    assert box[0] == pytest.approx(24 + 2 * other / (own + other))


@pytest.mark.parametrize(("shift", "num_people"), [(9, 1), (12, 2)])
def test_neighbors_stay_who_share_less_than_half(shift: int, num_people: int):
    # Boxes 32 wide: 23 of 41 columns are in common, which is 0.56, or 20 of 44, which is 0.45.
    network = detector_that_sees((0, 2, 3))

    def add_neighbor(_module: object, _inputs: object, output: object) -> object:
        cell = int(output.logits[0].argmax())
        logits, boxes = output.logits.clone(), output.boxes.clone()
        logits[:, cell + 1] = 0.0
        boxes[:, cell + 1] = boxes[:, cell] + torch.tensor([shift, 0, shift, 0])
        return output._replace(logits=logits, boxes=boxes)

    network.register_forward_hook(add_neighbor)

    assert len(find(network, height=96, width=128)) == num_people


def test_a_box_in_the_gray_beside_the_image_is_nobody():
    # An image of 128 x 40 is 64 x 20 in the input, which is padded to 64 x 32: row 3 of level 0 lies below it.
    network = detector_that_sees((0, 3, 4))

    def shrink(_module: object, _inputs: object, output: object) -> object:
        cell = int(output.logits[0].argmax())
        boxes = output.boxes.clone()
        boxes[:, cell] = torch.tensor([30.0, 24.0, 40.0, 31.0])
        return output._replace(boxes=boxes)

    network.register_forward_hook(shrink)

    assert find(network, height=40, width=128) == []
