import torch

from mspn.models.blocks import resize
from mspn.models.mspn import UpUnit


def test_a_convolution_before_the_resize_gives_what_the_released_order_gives():
    torch.manual_seed(0)
    unit, released = (UpUnit(6, 4, is_coarsest=False) for _ in range(2))
    released.load_state_dict(unit.state_dict())
    down, coarser = torch.randn(2, 6, 8, 6), torch.randn(2, 4, 4, 3)

    ours = unit(down, coarser)

    expected = (released.lateral(down) + released.from_coarser(resize(coarser, 8, 6))).relu()
    assert torch.allclose(ours, expected, atol=1e-5)
    # Batch statistics are those of the finer cells, too.
    for name, tensor in released.state_dict().items():
        assert torch.allclose(unit.state_dict()[name], tensor, atol=1e-5), name
