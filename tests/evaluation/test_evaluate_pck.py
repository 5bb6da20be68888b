from pathlib import Path

from mspn import PoseEstimator
from mspn.evaluation.evaluate import evaluate_pck_of_model
from tests.apart import ProcessApart
from tests.trained import overfitted


def test_only_the_first_process_reports_and_writes(tmp_path: Path):
    folder, weights = overfitted()
    estimator = PoseEstimator(weights, "none", precision="float32", batch_size=2)

    reports = []
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
        report = evaluate_pck_of_model(
            estimator,
            ["tiny"],
            folder / "annotations.json",
            folder / "images",
            metric="pck",
            head_boxes=None,
            out=tmp_path / str(rank),
            processes=ProcessApart(rank, 2),
        )
        reports.append(report)

    assert reports[0] is not None
    assert reports[0].protocol.num_boxes == 4  # half of the people, without what the other found
    assert reports[1] is None
    assert (tmp_path / "0" / "results.json").is_file()
    assert not list((tmp_path / "1").iterdir())
