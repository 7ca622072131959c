"""What replay buffers hand out."""

from typing import Any, NamedTuple


class Transition(NamedTuple):
    """One-step or n-step transitions, the input of every off-policy agent.

    Attributes:
        observation: `[B, ...]`, or a dictionary of such.
        action: `[B]` int (discrete) or `[B, D]` float (continuous).
        reward: `[B]` float32, the discounted sum of the `m <= n_step` rewards.
        discount: `[B]` float32, `gamma**m * (1 - terminated)`; truncation keeps it.
        next_observation: As `observation`, the true successor after `m` steps, never
            the first observation of the next episode.
        weight: `[B]` float32, importance-sampling weight; ones if sampled uniformly.
    """

    observation: Any
    action: Any
    reward: Any
    discount: Any
    next_observation: Any
    weight: Any
