"""The Python of README.md, for the type checker; tests/test_docs.py holds both together."""

from mspn import PoseEstimator

estimator = PoseEstimator()
for pose in estimator("photo.jpg"):
    print(pose.score, pose.keypoints["left_wrist"])  # (x, y, score): image pixels, score from 0 to 1
