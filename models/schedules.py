"""What part of the learning rates holds at a step."""

from collections.abc import Callable

__all__ = ["Schedule", "warmup_and_decay"]

Schedule = Callable[[int], float]


def warmup_and_decay(steps: int, *, warmup: float = 0.0, final: float = 1.0) -> Schedule:
    """Make a schedule that rises from 0 and then falls, both linearly.

    Fits `CompositeOptimizer`, and `torch.optim.lr_scheduler.LambdaLR`.

    Args:
        steps: Of the whole training.
        warmup: Part of them over which the rates rise, in [0, 1).
        final: Part of the rates that is left after the last step, and from then on.

    Returns:
        Takes a step's number, counted from 0, and gives the factor of the learning rates.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> schedule = warmup_and_decay(10, warmup=0.2, final=0.2)
        >>> [round(schedule(step), 3) for step in range(10)]
        [0.333, 0.667, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    """
    if steps < 1 or not 0 <= warmup < 1 or final < 0:
        raise ValueError(
            "steps has to be 1 or more, warmup in [0, 1) and final 0 or more, "
            f"got {steps}, {warmup} and {final}"
        )
    rising = round(steps * warmup)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        # What is left stays, for whoever goes on.
        return 1.0 - (1.0 - final) * (min(step, steps) - rising) / max(steps - rising, 1)

    return factor
