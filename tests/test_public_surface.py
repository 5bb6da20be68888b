import subprocess
import sys

import numpy as np
import pytest
import torch

import mspn

NAMES = {
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
}


def test_the_package_names_what_is_public():
    assert set(mspn.__all__) == NAMES
    assert set(dir(mspn)) >= NAMES
    for name in NAMES:
        assert getattr(mspn, name) is not None


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'mspn' has no attribute 'Poses'"):
        _ = mspn.Poses


def test_the_version_is_text():
    assert isinstance(mspn.__version__, str)


def test_importing_the_package_loads_no_large_library():
    program = "import sys, mspn; dir(mspn); print([name for name in ('torch', 'cv2', 'numpy') if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_every_form_of_an_image_in_memory_has_the_same_poses():
    pillow = pytest.importorskip("PIL.Image")
    gray = np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)
    rgb = np.stack([gray] * 3, axis=-1)
    estimator = mspn.PoseEstimator("mspn-tiny", "none")
    (expected,) = estimator(rgb)

    tensors = [torch.from_numpy(gray), torch.from_numpy(rgb), torch.from_numpy(rgb.transpose(2, 0, 1).copy())]
    images = [gray, gray[..., None], *tensors, pillow.fromarray(gray), pillow.fromarray(rgb)]
    for image in images:
        (pose,) = estimator(image)
        np.testing.assert_array_equal(pose.keypoints_image, expected.keypoints_image)
    streamed = [result.poses[0] for result in estimator.stream(images)]
    assert len(streamed) == len(images)
    assert all((pose.keypoints_image == expected.keypoints_image).all() for pose in streamed)
