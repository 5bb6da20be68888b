import torch
from torch import Tensor, nn

from mspn.training.train_step import keep_depthwise_in_float32


def _dtypes_inside(convolution: nn.Conv2d) -> list[tuple[torch.dtype, torch.dtype]]:
    """Of input and weight, where a convolution in bfloat16 autocast really computes, and of what it returns."""
    seen = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = function(*args, **(kwargs or {}))
            if function is nn.functional.conv2d:
                seen.append((args[0].dtype, result.dtype))
            return result

    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16), Watch():
        assert convolution(x).dtype == torch.bfloat16
    return seen


def test_depthwise_convolutions_compute_in_float32_and_others_in_bfloat16():
    depthwise, grouped, plain = (nn.Conv2d(4, 4, 3, groups=groups) for groups in (4, 2, 1))

    keep_depthwise_in_float32(nn.Sequential(depthwise, grouped, plain))

    assert _dtypes_inside(depthwise) == [(torch.float32, torch.float32)]
    assert _dtypes_inside(grouped) == [(torch.bfloat16, torch.bfloat16)]
    assert _dtypes_inside(plain) == [(torch.bfloat16, torch.bfloat16)]


def test_outside_autocast_nothing_changes():
    convolution = nn.Conv2d(4, 4, 3, groups=4)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    expected: Tensor = convolution(x)

    keep_depthwise_in_float32(nn.Sequential(convolution))

    assert torch.equal(convolution(x), expected)
