import cv2
import numpy as np
import pytest

from mspn.tracking.tracker import CutDetector


def _shot(seed: int) -> np.ndarray:
    """A landscape of large and small blots, wider than a frame."""
    random = np.random.default_rng(seed)
    blots = sum(
        cv2.resize(random.uniform(0, 1, (size, 2 * size, 3)), (640, 320), interpolation=cv2.INTER_CUBIC)
        for size in (4, 8, 32)
    )
    return np.clip(255 * blots / 3, 0, 255).astype(np.uint8)


def _cuts(frames: list[np.ndarray]) -> list[int]:
    detector = CutDetector()
    return [number for number, frame in enumerate(frames) if detector.is_cut(frame)]


def test_another_shot_is_a_cut():
    first, second = _shot(0), _shot(1)

    assert _cuts([first, first, second, second, first]) == [2, 4]


def test_cuts_to_black_and_back_are_cuts():
    black = np.zeros_like(_shot(0))

    assert _cuts([_shot(0), black, black, _shot(0)]) == [1, 3]


def test_a_pan_is_no_cut():
    # A fiftieth of the width a frame: past everything within two seconds.
    assert _cuts([_shot(0)[:, start : start + 320] for start in range(0, 320, 6)]) == []


@pytest.mark.parametrize("factor", [0.3, 1.6])
def test_a_flash_or_a_lamp_switched_off_is_no_cut(factor: float):
    frame = _shot(0)

    assert _cuts([frame, np.clip(frame * factor, 0, 255).astype(np.uint8), frame]) == []


def test_noise_in_the_dark_is_no_cut():
    random = np.random.default_rng(0)

    assert _cuts([random.integers(0, 30, (320, 640, 3), np.uint8) for _ in range(5)]) == []


def test_somebody_who_walks_past_close_to_the_camera_is_no_cut():
    frames = []
    for left in range(-200, 640, 40):
        frame = _shot(0)
        frame[:, max(left, 0) : max(left + 200, 0)] = 40
        frames.append(frame)

    assert _cuts(frames) == []
