import torch

from mspn.benchmark.throughput import ReferencePath
from mspn.config.recipes import RECIPES
from mspn.inference.runner import Runner
from mspn.models import build_network
from mspn.models.base import RELEASED_PEAK
from tests.config.test_every_recipe import small
from tests.golden import assert_summary_matches, golden_inputs, golden_network, golden_network_figures


def test_the_reference_answers_what_the_released_network_answered():
    path = ReferencePath(golden_network(1))

    # The golden crops are normalized already, so the network inside is asked.
    heatmaps = path._model(golden_inputs().crops)[-1][0]

    assert_summary_matches(heatmaps * RELEASED_PEAK, golden_network_figures(1)["heatmaps"][-1][0])


def test_the_reference_and_the_runner_answer_alike():
    network = build_network(small(RECIPES["mspn-2"]).model).eval()
    crops = torch.randint(0, 256, (3, 64, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(9))

    expected = ReferencePath(network)(crops)

    answered = Runner(network, torch.device("cpu"), "float32", "torch")(crops)
    torch.testing.assert_close(answered, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
