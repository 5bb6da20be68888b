"""What keypoint scores say, and how often such keypoints are right (needs the extra `plots`):

OMP_NUM_THREADS=1 python -m benchmarks.score_calibration WEIGHTS ... --data DATA --out FIGURE.png

Prints, for each weights file, the expected calibration error of the peaks of heat maps and of the calibrated scores, on
people whom the network has not seen in training. Then by how much it knows those better whom it has seen: a calibration
is fitted to some of them, and the shift of its log-odds is searched for that suits unseen people of the same kind. That
is what `mspn models calibrate --shift` takes, for weights that are calibrated on a training set.
"""

import argparse
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.validation_sets import VALIDATION_SETS
from mspn.checkpoints.format import Checkpoint
from mspn.checkpoints.networks import load_named
from mspn.config.protocol import ScoreCalibration
from mspn.evaluation.calibration import Calibration, JudgedKeypoints, fit_calibration, judge_people
from mspn.evaluation.predicting import predict_labeled
from mspn.labels.formats import read_labels
from mspn.predict.estimator import PoseEstimator

SHOWN = "coco_sample"
SEEN_AND_UNSEEN = (("lspet_train", "lspet_val"), ("studio_train", "studio_val"))
_MAX_PEOPLE = 500
_MAX_SHIFT = 5.0
_HALVINGS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description="compare keypoint scores with the share of good keypoints")
    parser.add_argument("models", nargs="+", help="names or weights files")
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets of photos")
    parser.add_argument("--out", type=Path, required=True, help="figure to draw")
    chosen = parser.parse_args()
    panels = {}
    for model in chosen.models:
        checkpoint = load_named(model)
        peaks = judge_sets(checkpoint, chosen.data)
        calibration = checkpoint.metadata.score_calibration
        for name in VALIDATION_SETS:
            errors = [one.compare().expected_error for one in (peaks[name], _score(peaks[name], calibration))]
            print(f"{model}, {name}: expected calibration error {errors[0]:.3f} of peaks, {errors[1]:.3f} of scores")
        skeleton = checkpoint.metadata.recipe.keypoint_table
        shifts = []
        for seen, unseen in SEEN_AND_UNSEEN:
            shifts.append(find_shift(fit_calibration(peaks[seen], skeleton, shift=0.0), peaks[unseen]))
            print(f"{model}: from {seen} to {unseen}, log-odds shift by {shifts[-1]:+.2f}")
        print(f"{model}: --shift {np.mean(shifts):.2f}")
        panels[Path(model).stem] = {
            "peaks": peaks[SHOWN].compare(),
            "calibrated scores": _score(peaks[SHOWN], calibration).compare(),
        }
    draw(panels, chosen.out)


def judge_sets(checkpoint: Checkpoint, data: Path) -> dict[str, JudgedKeypoints]:
    """Keypoints of up to 500 people of each set, whose scores are the peaks of the heat maps."""
    plain = Checkpoint(checkpoint.metadata.model_copy(update={"score_calibration": None}), checkpoint.model)
    estimator = PoseEstimator(plain, "none", precision="float32")
    judged = {}
    for name in dict.fromkeys([*VALIDATION_SETS, *(name for pair in SEEN_AND_UNSEEN for name in pair)]):
        labels = read_labels(data / name / "annotations.json")
        people = [person for person in labels.people if not person.is_crowd and person.keypoints_image[:, 2].any()]
        drawn = replace(labels, people=random.Random(0).sample(people, min(len(people), _MAX_PEOPLE)))  # no secret
        _, results = predict_labeled(estimator, drawn, data / name / "images")
        judged[name] = judge_people(drawn, results, checkpoint.metadata.recipe.keypoint_table)
    return judged


def find_shift(calibration: ScoreCalibration, others: JudgedKeypoints) -> float:
    """What to add to the offsets so that the mean score of other people's keypoints is the share that is good."""
    share = others.is_good[others.is_labeled].mean()
    low, high = -_MAX_SHIFT, _MAX_SHIFT
    for _ in range(_HALVINGS):
        shift = (low + high) / 2
        offsets = tuple(offset + shift for offset in calibration.offsets)
        scores = calibration.model_copy(update={"offsets": offsets}).scores(others.scores)
        low, high = (low, shift) if scores[others.is_labeled].mean() > share else (shift, high)
    return shift


def draw(panels: Mapping[str, Mapping[str, Calibration]], path: Path) -> None:
    """Reliability diagrams side by side: share of good keypoints by mean score; dots as large as bins are full."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 (extra `plots`)

    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 4), squeeze=False, layout="constrained")
    for axis, (title, curves) in zip(axes[0], panels.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="gray", linewidth=1, linestyle=":")
        for name, calibration in curves.items():
            bins = [score_bin for score_bin in calibration.bins if score_bin is not None]
            total = sum(score_bin.keypoints for score_bin in bins)
            (line,) = axis.plot(
                [score_bin.mean_score for score_bin in bins],
                [score_bin.share_good for score_bin in bins],
                label=f"{name}: expected error {calibration.expected_error:.3f}",
            )
            axis.scatter(
                [score_bin.mean_score for score_bin in bins],
                [score_bin.share_good for score_bin in bins],
                s=[400 * score_bin.keypoints / total for score_bin in bins],
                color=line.get_color(),
            )
        axis.set(title=title, xlabel="score", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15))
    axes[0][0].set_ylabel(f"share of good keypoints, {SHOWN}")
    figure.savefig(path, dpi=110)


def _score(judged: JudgedKeypoints, calibration: ScoreCalibration | None) -> JudgedKeypoints:
    return judged if calibration is None else replace(judged, scores=calibration.scores(judged.scores))


if __name__ == "__main__":
    main()
