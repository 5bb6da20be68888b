import numpy as np
import pytest

from mspn.tracking.smoothing import _filter_forward, _smooth_back, smooth_points


def test_the_smoother_gives_the_least_squares_path():
    # The same problem solved at once: three positions and velocities, of which the path costs the least squares of
    # measurements (variances 1, 4, 1) and of changes of the velocity (ratio 2, covariance of white acceleration).
    seconds, measured = np.array([0.0, 0.5, 1.5]), np.array([0.0, 3.0, 1.0])
    variances = np.array([1.0, 4.0, 1.0])
    rows, values = [np.eye(6)[0] / 1e4, np.eye(6)[1] / 1e4], [0.0, 0.0]  # the first belief, around the first point
    for frame in range(3):
        rows.append(np.eye(6)[2 * frame] / np.sqrt(variances[frame]))
        values.append(measured[frame] / np.sqrt(variances[frame]))
    for frame, elapsed in ((0, 0.5), (1, 1.0)):
        covariance = 2 * np.array([[elapsed**3 / 3, elapsed**2 / 2], [elapsed**2 / 2, elapsed]])
        whitening = np.linalg.inv(np.linalg.cholesky(covariance))
        change = np.zeros((2, 6))
        change[:, 2 * frame + 2 : 2 * frame + 4] = np.eye(2)
        change[:, 2 * frame : 2 * frame + 2] = -np.array([[1, elapsed], [0, 1]])
        rows += list(whitening @ change)
        values += [0.0, 0.0]
    expected = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0][::2]

    points = np.stack([measured, -measured], axis=-1)[:, None]
    steps = list(_filter_forward(points, variances[:, None], seconds, np.array([2.0])))
    smoothed = _smooth_back(steps, seconds)

    np.testing.assert_allclose(smoothed[:, 0, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(smoothed[:, 0, 1], -expected, rtol=1e-6)


def test_the_noise_is_measured():
    random = np.random.default_rng(0)
    seconds = np.arange(300) / 30
    points = 100 + 50 * seconds[:, None, None] + random.normal(size=(300, 2, 2)) * [[[1.0], [4.0]]]

    _, noise_px = smooth_points(points, np.ones((300, 2)), seconds)

    np.testing.assert_allclose(noise_px, [1.0, 4.0], rtol=0.15)


def test_a_straight_path_goes_on_through_a_gap_of_any_length():
    seconds = np.array([0.0, 0.1, 0.15, 0.3, 1.0, 1.1, 1.2])
    truth = np.stack([100 * seconds, 50 - 20 * seconds], axis=-1)[:, None]
    weights = np.array([1, 1, 1, 0, 0, 1, 1.0])[:, None]
    seen = np.where(weights[..., None] > 0, truth, np.nan)

    smoothed, _ = smooth_points(seen, weights, seconds)

    np.testing.assert_allclose(smoothed, truth, atol=1e-3)


@pytest.mark.parametrize("num_measured", [0, 1, 2])
def test_points_that_are_hardly_measured_stay_where_they_were_measured(num_measured: int):
    points = np.array([[[3.0, 4.0]], [[5.0, 6.0]]])
    weights = (np.arange(2) < num_measured).astype(float)[:, None]

    smoothed, noise_px = smooth_points(points, weights, np.array([0.0, 0.1]))

    assert np.isnan(noise_px).all()  # nothing was predicted
    if num_measured == 0:
        assert np.isnan(smoothed).all()
    else:
        np.testing.assert_allclose(smoothed[:num_measured], points[:num_measured], atol=0.01)
