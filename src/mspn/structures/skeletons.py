"""Keypoint tables of the skeletons that come with the package."""

from mspn.errors import InvalidValueError
from mspn.structures.skeleton import _MAX_KEYPOINTS, _UNNAMED_PREFIX, Skeleton, unnamed_skeleton

_ARMS = (
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
)
_LEGS = (
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
    ("right_hip", "right_knee"),
    ("right_knee", "right_ankle"),
)

FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")

COCO_17 = Skeleton(
    name="coco-17",
    category="person",
    keypoints=(
        *FACE,
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
    # Source: the COCO keypoint evaluation page and pycocotools.
    sigmas=(
        *(0.026, 0.025, 0.025, 0.035, 0.035),
        *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
        *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    ),
    upper=(
        *FACE,
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip"),
    ),
    limbs=(
        *(("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear")),
        *(("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")),
        *(("left_shoulder", "left_hip"), ("right_shoulder", "right_hip")),
        *_ARMS,
        *_LEGS,
    ),
)

LSP_14 = Skeleton(
    name="lsp-14",
    category="person",
    keypoints=(
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
        *("neck", "head_top"),
    ),
    # COCO's where COCO has the keypoint; neck and head top as CrowdPose does.
    sigmas=(0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.062, 0.072, 0.079, 0.079, 0.072, 0.062, 0.079, 0.079),
    upper=(
        *("right_hip", "left_hip", "right_wrist", "right_elbow", "right_shoulder"),
        *("left_shoulder", "left_elbow", "left_wrist", "neck", "head_top"),
    ),
    limbs=(
        *(("head_top", "neck"), ("neck", "left_shoulder"), ("neck", "right_shoulder"), ("left_hip", "right_hip")),
        *(("left_shoulder", "left_hip"), ("right_shoulder", "right_hip")),
        *_ARMS,
        *_LEGS,
    ),
)

MPII_16 = Skeleton(
    name="mpii-16",
    category="person",
    keypoints=(
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("pelvis", "thorax", "neck", "head_top"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    ),
    # As LSP_14; the pelvis like a hip, the thorax like a shoulder.
    sigmas=(
        *(0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.107, 0.079, 0.079, 0.079),
        *(0.062, 0.072, 0.079, 0.079, 0.072, 0.062),
    ),
    # The released code's halves: 7 to 15 and 0 to 6.
    upper=(
        *("thorax", "neck", "head_top", "right_wrist", "right_elbow", "right_shoulder"),
        *("left_shoulder", "left_elbow", "left_wrist"),
    ),
    limbs=(
        *(("head_top", "neck"), ("neck", "thorax"), ("thorax", "left_shoulder"), ("thorax", "right_shoulder")),
        *(("thorax", "pelvis"), ("pelvis", "left_hip"), ("pelvis", "right_hip")),
        *_ARMS,
        *_LEGS,
    ),
)

CROWDPOSE_14 = Skeleton(
    name="crowdpose-14",
    category="person",
    keypoints=(
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
        *("head_top", "neck"),
    ),
    # Source: CrowdPose's evaluation code.
    sigmas=(0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079),
    upper=LSP_14.upper,
    limbs=LSP_14.limbs,
)

AI_CHALLENGER_14 = Skeleton(
    name="ai-challenger-14",
    category="person",
    keypoints=(
        *("right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
        *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
        *("head_top", "neck"),
    ),
    # Source: the challenge's evaluation code (its delta is twice the sigma).
    sigmas=(
        *(0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144),
        *(0.03909642, 0.03686941, 0.01981803, 0.03843971, 0.03412318, 0.02415081),
        *(0.01291456, 0.01236173),
    ),
    upper=LSP_14.upper,
    limbs=LSP_14.limbs,
)

SKELETONS = {skeleton.name: skeleton for skeleton in (COCO_17, LSP_14, MPII_16, CROWDPOSE_14, AI_CHALLENGER_14)}


def find_skeleton(name: str) -> Skeleton:
    """The skeleton of that name; "unnamed-5" stands for any five keypoints.

    Raises:
        ValueError: naming those that there are.
    """
    count = name.removeprefix(_UNNAMED_PREFIX)
    if name.startswith(_UNNAMED_PREFIX) and count.isdecimal() and 1 <= int(count) <= _MAX_KEYPOINTS:
        return unnamed_skeleton(int(count))
    if name not in SKELETONS:
        raise InvalidValueError(
            f"no skeleton {name!r}; there are {', '.join(SKELETONS)} and {_UNNAMED_PREFIX}N for N keypoints of any kind"
        )
    return SKELETONS[name]
