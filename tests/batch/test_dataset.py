from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray.data")

import pyarrow as pa
from ray.data.block import BlockAccessor

from mspn.batch.dataset import DatasetPredictor
from mspn.errors import InvalidValueError
from mspn.io.images import encode_jpeg
from tests.untrained import untrained_estimator

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")  # of its own settings
PIXELS = np.random.default_rng(0).integers(0, 255, (2, 40, 30, 3), np.uint8)


@pytest.fixture
def predictor(tmp_path: Path) -> DatasetPredictor:
    class Packed:
        unpack = staticmethod(lambda: untrained_estimator(tmp_path))

    return DatasetPredictor(Packed())


def test_poses_stand_beside_the_columns_that_were_there(predictor: DatasetPredictor):
    table = BlockAccessor.batch_to_block({"image": PIXELS, "label": np.array([7, 8])})

    found = predictor(table)

    assert found.column_names == ["label", "frame", "seconds", "width", "height", "num_people", "people", "problems"]
    assert found["label"].to_pylist() == [7, 8]
    assert found["width"].to_pylist() == [30, 30]
    assert [len(people[0]["keypoints"]) for people in found["people"].to_pylist()] == [17, 17]


def test_bytes_are_decoded_and_damage_is_a_problem_of_its_row(predictor: DatasetPredictor):
    jpeg = encode_jpeg(PIXELS[0])

    found = predictor(pa.table({"bytes": [jpeg, jpeg[:-2]], "path": ["a.jpg", "b.jpg"]}))

    assert found["path"].to_pylist() == ["a.jpg", "b.jpg"]
    assert found["num_people"].to_pylist() == [1, 0]
    assert found["problems"].to_pylist()[1][0].startswith("row 1 is cut short")


def test_a_video_becomes_a_row_for_each_frame(predictor: DatasetPredictor):
    pan = Path(__file__).parents[2] / "src/mspn/assets/sample/pan.mp4"

    found = predictor(pa.table({"path": [str(pan)], "label": [7]}))

    assert found["frame"].to_pylist() == list(range(found.num_rows))
    assert set(found["label"].to_pylist()) == {7}
    assert found.num_rows > 10


def test_a_dataset_without_images_is_refused(predictor: DatasetPredictor):
    with pytest.raises(InvalidValueError, match="has no column image, bytes or path, but file, label"):
        predictor(pa.table({"file": ["a"], "label": [1]}))
