import pytest
import torch
from torch import nn

from mspn.training.depthwise import speed_up_depthwise


def _gradients(convolution: nn.Conv2d, x: torch.Tensor, *, autocast: bool) -> list[torch.Tensor]:
    """The output, and its gradients by the input and by the kernels where each output counts differently."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = convolution(x)
    counted = torch.randn(output.shape, generator=torch.Generator().manual_seed(4))
    inputs = [tensor for tensor in (x, convolution.weight) if tensor.requires_grad]
    return [output.detach(), *torch.autograd.grad((output * counted).sum(), inputs)]


@pytest.mark.parametrize(
    ("kernel_size", "stride", "size"),
    [(3, 1, (8, 6)), (3, 2, (8, 6)), (5, 1, (8, 6)), (5, 2, (9, 7)), (5, 2, (8, 6)), (7, 1, (8, 6)), (7, 3, (10, 11))],
)
def test_gradients_are_those_of_float32_within_the_rounding_of_bfloat16(kernel_size, stride, size):
    torch.manual_seed(1)
    convolution = nn.Conv2d(4, 4, kernel_size, stride, kernel_size // 2, groups=4, bias=False)
    x = torch.randn(2, 4, *size).to(memory_format=torch.channels_last)
    expected = _gradients(convolution, x, autocast=False)

    speed_up_depthwise(nn.Sequential(convolution))
    found = _gradients(convolution, x, autocast=True)

    for name, before, now in zip(("output", "input", "kernels"), expected, found, strict=True):
        assert now.shape == before.shape, name
        assert (now.float() - before).norm() / before.norm() < 0.01, name


def test_the_network_computes_in_bfloat16_and_its_gradients_are_in_the_formats_of_the_tensors():
    convolution = nn.Conv2d(4, 4, 5, 2, 2, groups=4, bias=False)
    speed_up_depthwise(nn.Sequential(convolution))

    output, *gradients = _gradients(convolution, torch.randn(1, 4, 8, 8), autocast=True)

    assert output.dtype == torch.bfloat16
    assert [gradient.dtype for gradient in gradients] == [torch.float32, torch.float32]


def test_outside_autocast_nothing_changes():
    convolution = nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    expected = _gradients(convolution, x, autocast=False)

    speed_up_depthwise(nn.Sequential(convolution))

    assert all(map(torch.equal, _gradients(convolution, x, autocast=False), expected))


def test_other_convolutions_stay_as_they_are():
    frozen = nn.Conv2d(4, 4, 3, groups=4, bias=False)
    frozen.weight.requires_grad_(False)
    others = [
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 3, groups=2, bias=False),
        nn.Conv2d(4, 8, 3, groups=4, bias=False),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(4, 4, 3, groups=4, bias=False, dilation=2),
        nn.Conv2d(4, 4, (3, 5), groups=4, bias=False),
        nn.Conv2d(4, 4, 3, groups=4, bias=False, padding="same"),
        nn.Conv2d(4, 4, 3, groups=4, bias=False, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, 3, stride=(1, 2), groups=4, bias=False),
        frozen,
    ]

    speed_up_depthwise(nn.Sequential(*others))

    assert not any("forward" in vars(module) for module in others)
