"""Learning rate over the course of training."""

from bisect import bisect_right

from mspn.train_config import TrainConfig

_REFERENCE_BATCH = 32


def learning_rate(iteration: int, config: TrainConfig) -> float:
    """Rate of an iteration, 1 for the first: a linear climb, then a linear fall to 0 at the last, or steps.

    Source: the released code, which steps the schedule before the optimiser. Its rate grows with the number
    of GPUs, each 32 people; ours with the batch, which is the same.
    """
    peak = config.learning_rate * config.batch_size / _REFERENCE_BATCH
    warmup = min(config.warmup_iterations, config.iterations - 1)
    if iteration < warmup:
        progress = iteration / warmup
        return peak * (config.warmup_start * (1 - progress) + progress)
    if config.decay == "steps":
        return float(peak * 0.1 ** bisect_right(config.milestones, iteration))
    return peak * (config.iterations - iteration) / (config.iterations - warmup)
