import time

import pytest

from mspn.benchmark.throughput import clock_for, measure_matrix_product, measure_upper_bound
from mspn.config.model import SimpleBaselineConfig
from mspn.config.recipes import RECIPES
from mspn.models import build_network
from mspn.structures.boxes import Size
from tests.config.test_every_recipe import small


def test_multiply_adds_are_counted_as_they_run():
    # Stem 7x7, 3 to 2 channels, on 16x16 cells: 75,264. At 8x8, 4x4, 2x2 and 1x1 cells, layers of two blocks of two 3x3
    # convolutions, of 2, 4, 8 and 16 channels: 4 * 9 * 4 * 64 = 9,216, then for each deeper one
    # (9 c/2 c + 3 * 9 c c + c/2 c) * cells with c = 4: 512 * 16 = 8,192; 2,048 * 4 = 8,192; 8,192 * 1 = 8,192.
    # Deconvolutions 4x4 from 1x1, 2x2 and 4x4 cells: 16 * 2 * 16 = 512, 16 * 2 * 2 * 4 = 256, 16 * 2 * 2 * 16 = 1,024.
    # Head 1x1, 2 to 17 channels, on 8x8 cells: 2,176.
    config = SimpleBaselineConfig(backbone="resnet18", stem_channels=2, up_channels=2, input_size=Size(32, 32))
    network = build_network(config).eval()

    ceiling = measure_upper_bound("tiny", network, "float32", 1, 1, matrix_gmacs_per_second=1.0)

    assert ceiling.gmacs == pytest.approx((75_264 + 9_216 + 3 * 8_192 + 512 + 256 + 1_024 + 2_176) / 1e9)
    assert ceiling.matrix_crops_per_second == pytest.approx(1 / ceiling.gmacs)
    assert ceiling.convolution_crops_per_second > 0


def test_every_precision_has_a_ceiling():
    network = build_network(small(RECIPES["mspn-2"]).model).eval()

    ceiling = measure_upper_bound("small", network, "bfloat16", 2, 1, measure_matrix_product("bfloat16", 1))

    assert (ceiling.precision, ceiling.batch, ceiling.threads) == ("bfloat16", 2, 1)
    assert ceiling.matrix_gmacs_per_second > 0
    assert ceiling.convolution_crops_per_second > 0


def test_one_thread_is_timed_by_the_processor_and_several_by_the_clock_on_the_wall():
    assert clock_for(1) is time.process_time
    assert clock_for(2) is time.perf_counter
