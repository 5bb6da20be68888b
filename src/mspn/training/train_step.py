"""One step of training: forward, backward, optimizer, moving average; and the learning rate.

Memory may be saved by recomputed activations.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from mspn.config.train import TrainConfig
from mspn.distributed import ALONE, Processes
from mspn.errors import InvalidValueError, TrainingDivergedError
from mspn.models.base import normalize, place
from mspn.models.blocks import Stem
from mspn.training.depthwise import speed_up_depthwise
from mspn.training.tasks import Batch, Losses

_REFERENCE_BATCH = 32


def learning_rate(iteration: int, config: TrainConfig) -> float:
    """Rate of an iteration, the first being 1: linear warmup, then linear decay to 0 at the last iteration, or steps.

    Source: the released code, which steps the schedule before the optimizer. It scales the rate by the number of GPUs,
    of 32 people each; we scale it by the batch, which is equivalent.
    """
    peak = config.learning_rate * config.batch_size / _REFERENCE_BATCH
    warmup = min(config.warmup_iterations, config.iterations - 1)
    if iteration < warmup:
        progress = iteration / warmup
        return peak * (config.warmup_start * (1 - progress) + progress)
    if config.decay == "steps":
        return float(peak * 0.1 ** bisect_right(config.milestones, iteration))
    return peak * (config.iterations - iteration) / (config.iterations - warmup)


class TrainStep:
    """Network, optimizer, loss scaler and averaged weights."""

    def __init__(
        self,
        network: nn.Module,
        compute_losses: Callable[[Any, Any], Losses],
        config: TrainConfig,
        device: torch.device,
        processes: Processes = ALONE,
    ) -> None:
        """Prepare a network for training, in place: move it to the device, and replace its norms as configured.

        Args:
            network: takes normalized images.
            compute_losses: takes the network's outputs and a batch's labels.
            config: optimizer and schedule.
            device: to train on.
            processes: share each batch.

        Raises:
            ValueError: if batch norms cannot be synchronized here, or no parameter belongs to a frozen part.
        """
        self._config = config
        self._compute_losses = compute_losses
        self._device = device
        self._processes = processes
        self._dtype: torch.dtype = getattr(torch, config.precision)
        self._network = place(_convert_norms(network, config, device, processes), device)
        _freeze(self._network, config.frozen_parts)
        self._average = _moving_average(self._network, config)
        if device.type == "cpu" and self._dtype == torch.bfloat16:
            speed_up_depthwise(self._network)
        if config.recompute_activations:
            recompute_activations(self._network)
        if config.compile:
            self._network.compile()
        self._forward: nn.Module = self._network
        if processes.count > 1:
            ids = [torch.cuda.current_device()] if device.type == "cuda" else None
            self._forward = DistributedDataParallel(self._network, ids, gradient_as_bucket_view=True)
        self._optimizer = torch.optim.Adam(
            self._network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        # Losses are those of maps with peak 255: a factor of about 2**16, the usual initial scale, is in them already.
        self._scaler = torch.amp.GradScaler(device.type, init_scale=1.0, enabled=config.precision == "float16")
        self._set_modes()

    @property
    def weights(self) -> nn.Module:
        """The network to save and to validate: the averaged one where weights are averaged."""
        if self._average is not None and int(self._average.n_averaged) > 0:
            return self._average.module
        return self._network

    def step(self, parts: Sequence[Batch], learning_rate: float) -> Tensor:
        """Train on a batch.

        Args:
            parts: this process's share of the batch, all of the same size.
            learning_rate: of this step.

        Returns:
            The weighted losses by stage and level, fine to coarse, averaged over all processes; on the CPU.

        Raises:
            TrainingDivergedError: if their sum is not finite, before any weight has changed; in all processes.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.zero_grad(set_to_none=True)
        parts_losses = [self._backward(part, is_last=part is parts[-1], share=1 / len(parts)) for part in parts]
        losses = self._processes.average(torch.stack(parts_losses).mean(0)).cpu()
        if not math.isfinite(losses.sum().item()):
            raise TrainingDivergedError(f"the loss is {losses.sum().item()}")
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average is not None:
            self._average.update_parameters(self._network)
        return losses

    def _backward(self, part: Batch, *, is_last: bool, share: float) -> Tensor:
        labels = type(part.labels)(*(tensor.to(self._device, non_blocking=True) for tensor in part.labels))
        images = normalize(part.pixels.to(self._device, non_blocking=True))
        with nullcontext() if is_last else self._without_gradient_sync():
            with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
                outputs = self._forward(images)
            losses = self._compute_losses(outputs, labels)
            self._scaler.scale(losses.total * share).backward()  # type: ignore[no-untyped-call]
        return losses.by_stage_and_level

    def _without_gradient_sync(self) -> AbstractContextManager[None]:
        """Gradients are synchronized between processes once a batch, with its last part."""
        return self._forward.no_sync() if isinstance(self._forward, DistributedDataParallel) else nullcontext()

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, from which training continues exactly; tensors and plain values."""
        return {
            "model": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": self._average.state_dict() if self._average is not None else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state; settings that changed since then take effect.

        Raises:
            KeyError, RuntimeError, TypeError, ValueError: if it is not a state of this network.
        """
        self._network.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        for group in self._optimizer.param_groups:
            group["weight_decay"] = self._config.weight_decay
        if self._scaler.is_enabled() and state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
        if self._average is not None and state["average"] is not None:
            self._average.load_state_dict(state["average"])

    def _set_modes(self) -> None:
        self._forward.train()
        every_norm = self._config.norm == "frozen"
        for name, module in self._network.named_modules():
            if isinstance(module, _BatchNorm) and (every_norm or _is_in(name, self._config.frozen_parts)):
                module.eval()


def _freeze(network: nn.Module, parts: tuple[str, ...]) -> None:
    for part in parts:
        frozen = [tensor for name, tensor in network.named_parameters() if _is_in(name, (part,))]
        if not frozen:
            raise InvalidValueError(f"train.frozen_parts: the network has no part {part!r}")
        for tensor in frozen:
            tensor.requires_grad_(False)


def _is_in(name: str, parts: tuple[str, ...]) -> bool:
    """Whether a tensor or module is in one of the parts: "stages.1" holds no "stages.10"."""
    return f"{name}.".startswith(tuple(f"{part}." for part in parts))


def _convert_norms(network: nn.Module, config: TrainConfig, device: torch.device, processes: Processes) -> nn.Module:
    if config.norm != "synchronized" or processes.count == 1:
        return network
    if device.type != "cuda":
        raise InvalidValueError("train.norm=synchronized needs GPUs: torch cannot synchronize batch norms between CPUs")
    return cast("nn.Module", nn.SyncBatchNorm.convert_sync_batchnorm(network))  # type: ignore[no-untyped-call]


def _moving_average(network: nn.Module, config: TrainConfig) -> AveragedModel | None:
    if config.ema_decay is None:
        return None
    return AveragedModel(network, multi_avg_fn=_averaging_function(config.ema_decay), use_buffers=True)


_Tensors = tuple[Tensor, ...] | list[Tensor]


def _averaging_function(max_decay: float) -> Callable[[_Tensors, _Tensors, Tensor | int], None]:
    """An exponential moving average with decay (1 + n) / (10 + n) after n steps, `max_decay` at most.

    The ramp keeps the initial weights from dominating the average for long.
    """

    def average(averaged: _Tensors, current: _Tensors, num_averaged: Tensor | int) -> None:
        decay = min(max_decay, (1 + float(num_averaged)) / (10 + float(num_averaged)))
        get_ema_multi_avg_fn(decay)(averaged, current, num_averaged)  # type: ignore[no-untyped-call]

    return average


def recompute_activations(network: nn.Module) -> None:
    """Checkpoint the activations of a network's blocks, in place; results and names of tensors do not change.

    A block is a member of one of the network's lists: a residual block, an up-sampling unit, a head. Running statistics
    are updated once a step; the released code's own checkpointing updates them twice.
    """
    for block in _blocks(network):
        contexts = partial(_contexts, block)
        block.forward = partial(
            checkpoint, block.forward, use_reentrant=False, context_fn=contexts, preserve_rng_state=False
        )


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The stem, and the innermost modules with weights that are members of a ModuleList or Sequential."""
    is_list = isinstance(module, nn.ModuleList) or type(module) is nn.Sequential
    for child in module.children():
        inner = list(_blocks(child))
        if inner:
            yield from inner
        elif isinstance(child, Stem) or (is_list and any(True for _ in child.parameters())):
            yield child


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _frozen_statistics(block)


@contextmanager
def _frozen_statistics(block: nn.Module) -> Iterator[None]:
    """Batch norms in training mode normalize by the batch, without an update of their running statistics."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm) and module.training]
    saved = [(norm, norm.momentum, cast("Tensor", norm.num_batches_tracked).clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in saved:
            norm.momentum = momentum
            cast("Tensor", norm.num_batches_tracked).copy_(count)
