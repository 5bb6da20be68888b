import json
from pathlib import Path

import numpy as np
import pytest
import torch

import mspn
from mspn.checkpoints.format import load_checkpoint
from mspn.errors import ExportError
from mspn.export.onnx_file import OPSET
from mspn.heatmaps.decode import decode
from mspn.inference.exported_files import METADATA_KEY, PoseExportMetadata, parse_metadata
from mspn.predict.ensemble import PersonCrop
from mspn.predict.estimator import PoseEstimator
from mspn.structures.boxes import Box, Detection, Size
from tests.export.exported import exported_untrained


@pytest.mark.parametrize("num_people", [1, 3, 32])
def test_an_export_from_pixels_to_keypoints_answers_as_the_estimator_for_any_number_of_people(num_people: int):
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = exported_untrained()
    pixels = np.random.default_rng(4).integers(0, 256, (num_people, 64, 64, 3), np.uint8)
    checkpoint = load_checkpoint(folder / "untrained.safetensors")
    top_down = PoseEstimator(checkpoint, "none", device="cpu", precision="float32").top_down
    # The box whose crop is the whole image, pixel by pixel.
    frame = top_down.ensemble.leader.frame(Box(0, 0, 64, 64), Size(64, 64))
    people = [PersonCrop(Detection(Box(0, 0, 64, 64), 1.0), (frame,), (crop,)) for crop in pixels]

    session = onnxruntime.InferenceSession(folder / "untrained.onnx")
    keypoints, scores, peaks = session.run(["keypoints", "scores", "peaks"], {"crops": pixels})

    heatmaps = top_down.predict_heatmaps(people)
    poses = top_down.decode(people, heatmaps)
    matrix = frame.crop_to_image
    keypoints_image = keypoints @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(keypoints_image, [pose.keypoints_image for pose in poses], atol=0.01)
    np.testing.assert_allclose(scores, [pose.keypoint_scores for pose in poses], atol=1e-5)
    recipe = checkpoint.metadata.recipe
    np.testing.assert_allclose(peaks, decode(heatmaps, recipe.test, recipe.keypoint_table.sigmas).scores, atol=1e-5)


def test_a_file_says_what_it_is_and_how_to_use_it():
    onnx = pytest.importorskip("onnx")
    folder = exported_untrained()

    model = onnx.load(folder / "untrained.onnx")

    (text,) = [item.value for item in model.metadata_props if item.key == METADATA_KEY]
    metadata = parse_metadata(text, folder / "untrained.onnx")
    assert isinstance(metadata, PoseExportMetadata)
    recipe = load_checkpoint(folder / "untrained.safetensors").metadata.recipe
    assert metadata.skeleton == recipe.keypoint_table
    assert metadata.protocol == recipe.test
    assert metadata.model == recipe.model
    assert metadata.weights == "untrained"
    assert (metadata.input.layout, metadata.input.type) == ("NHWC", "uint8")
    assert (metadata.input.height, metadata.input.width) == (64, 64)
    assert metadata.outputs == ("keypoints", "scores", "peaks")
    assert metadata.mspn == mspn.__version__
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    (shape,) = (value.type.tensor_type.shape.dim for value in model.graph.input)
    assert [side.dim_param or side.dim_value for side in shape] == ["people", 64, 64, 3]


def test_a_file_whose_calibration_is_of_other_keypoints_is_refused_in_one_line(tmp_path: Path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported_untrained() / "untrained.onnx")
    (entry,) = [item for item in model.metadata_props if item.key == METADATA_KEY]
    metadata = json.loads(entry.value)
    metadata["score_calibration"] = {"slope": 1.0, "offsets": [0.0] * 5, "people": 1}
    entry.value = json.dumps(metadata)
    onnx.save(model, tmp_path / "other.onnx")

    with pytest.raises(ExportError, match=r"other\.onnx: its metadata contradict themselves: .*5 keypoints"):
        PoseEstimator(str(tmp_path / "other.onnx"), "none")


def test_a_file_does_not_say_where_it_was_made():
    written = (exported_untrained() / "untrained.onnx").read_bytes()

    assert str(Path(mspn.__file__).parents[1]).encode() not in written
    assert str(Path(torch.__file__).parents[1]).encode() not in written
