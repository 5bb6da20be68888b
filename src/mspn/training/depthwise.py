"""Gradients of depthwise convolutions in bfloat16 on CPUs, without the slow kernels of oneDNN (as of torch 2.13).

Two of them take 20 to 150 times as long as the convolution itself: that of the input where the stride is above 1, and
that of kernels larger than 3x3. All else is oneDNN's.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_BLOCK = 3
"""Width of the kernels whose gradient is fast, for any stride."""


def speed_up_depthwise(network: nn.Module) -> None:
    """Train the depthwise convolutions of a network faster on CPUs under bfloat16 autocast, in place.

    Results are those of bfloat16, and names of tensors do not change. Convolutions that need no gradient of their
    kernels stay as they are, and so do those with a bias, a dilation, or rectangular kernels.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.requires_grad and _is_simple_depthwise(module):
            module.forward = partial(_convolve, module, module.forward)  # type: ignore[method-assign]


def _is_simple_depthwise(module: nn.Conv2d) -> bool:
    height, width = module.kernel_size
    return (
        module.groups == module.in_channels == module.out_channels > 1
        and module.bias is None
        and module.dilation == (1, 1)
        and height == width
        and len({*module.stride}) == 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and len({*module.padding}) == 1
    )


def _convolve(module: nn.Conv2d, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    if not (torch.is_grad_enabled() and torch.is_autocast_enabled(x.device.type)):
        return forward(x)
    weight = module.weight.to(torch.bfloat16)
    geometry = (module.stride[0], module.padding[0])
    convolved: Tensor = _Depthwise.apply(x.to(torch.bfloat16), weight, *geometry)  # type: ignore[no-untyped-call]
    return convolved


class _Depthwise(torch.autograd.Function):
    """A convolution of each channel alone: (B, C, H, W) with (C, 1, K, K)."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        context.save_for_backward(x, weight)
        context.stride, context.padding = stride, padding
        return functional.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        (gradient,) = gradients
        x, weight = context.saved_tensors
        geometry = (context.stride, context.padding)
        of_input = None
        if context.needs_input_grad[0]:
            dtype = x.dtype if context.stride == 1 else torch.float32
            of_input = _input_gradient(gradient.to(dtype), weight.to(dtype), x.shape, *geometry).to(x.dtype)
        return of_input, _kernel_gradient_in_blocks(gradient, x, weight.shape, *geometry), None, None


def _kernel_gradient_in_blocks(gradient: Tensor, x: Tensor, shape: torch.Size, stride: int, padding: int) -> Tensor:
    """Gradient of the kernels, put together from 3x3 blocks, each the gradient of a 3x3 kernel on the moved input."""
    channels, kernel_size = shape[0], shape[-1]
    if kernel_size <= _BLOCK:
        return _kernel_gradient(gradient, x, shape, stride, padding)
    padded = functional.pad(x, (padding,) * 4)
    height, width = (stride * (cells - 1) + _BLOCK for cells in gradient.shape[-2:])
    starts = [*range(0, kernel_size - _BLOCK, _BLOCK), kernel_size - _BLOCK]
    block_shape = torch.Size((channels, 1, _BLOCK, _BLOCK))
    kernels = x.new_empty(shape)
    for top in starts:
        for left in starts:
            moved = padded[..., top : top + height, left : left + width]
            moved = moved.contiguous(memory_format=torch.channels_last)
            block = _kernel_gradient(gradient, moved, block_shape, stride, padding=0)
            kernels[..., top : top + _BLOCK, left : left + _BLOCK] = block
    return kernels


def _input_gradient(gradient: Tensor, weight: Tensor, shape: torch.Size, stride: int, padding: int) -> Tensor:
    """oneDNN's; it asks for the input's shape alone."""
    return _gradients(gradient, gradient.new_empty(1).expand(shape), weight, stride, padding, 0)


def _kernel_gradient(gradient: Tensor, x: Tensor, shape: torch.Size, stride: int, padding: int) -> Tensor:
    """oneDNN's; it asks for the kernels' shape alone."""
    return _gradients(gradient, x, x.new_empty(1).expand(shape), stride, padding, 1)


def _gradients(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, position: int) -> Tensor:
    wanted = [position == 0, position == 1, False]
    gradients: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight), wanted
    )
    return gradients[position]
