import cv2
import numpy as np

from mspn.visualize.notebook import show_poses
from tests.outputs.results import a_pose


def test_a_notebook_gets_a_jpeg_of_the_drawn_image():
    shown = show_poses(np.zeros((60, 50, 3), np.uint8), [a_pose()])

    decoded = cv2.imdecode(np.frombuffer(shown._repr_jpeg_(), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (60, 50, 3)
    assert decoded.max() > 100


def test_large_images_are_made_smaller_after_drawing():
    shown = show_poses(np.zeros((1536, 2048, 3), np.uint8), [a_pose()])

    # Half the size.
    assert shown.pixels.shape == (768, 1024, 3)
