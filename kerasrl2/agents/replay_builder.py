"""The replay buffer that keywords of `for_env` describe."""

from typing import Literal

from kerasrl2._checks import check_choice
from kerasrl2.buffers import (
    HindsightReplayBuffer,
    PrioritizedReplayBuffer,
    ReplayBuffer,
)
from kerasrl2.buffers.prioritized import PRIORITIZATIONS

Prioritized = bool | Literal["proportional", "rank"]


def made_buffer(
    buffer, env, buffer_size, prioritized, alpha, beta, n_step, gamma, seed, hindsight
):  # fmt: skip
    """A replay buffer.

    Args:
        buffer: Replay buffer, which is returned as it is, or None.
        env: `envs.Environment`, whose frame stacks are stored frame by frame.
        buffer_size: Integer, capacity in transitions.
        prioritized: Boolean, or `"proportional"`, which True stands for, or `"rank"`.
        alpha: Float, exponent of the priorities.
        beta: Float, initial exponent of the importance weights, which rises to 1.
        n_step: Integer, rewards summed in a target.
        gamma: Float in [0, 1] or None, which takes 0.99.
        seed: Integer or None.
        hindsight: None, or the `strategy` of a `HindsightReplayBuffer`.
    """
    check_choice("prioritized", prioritized, (False, True, *PRIORITIZATIONS))
    if buffer is not None:
        return buffer
    if hindsight is not None:
        if prioritized or n_step != 1:
            raise ValueError(
                "Expected `hindsight` alone: goals are chosen for single transitions, "
                "drawn alike. Received: also "
                f"prioritized={prioritized}, n_step={n_step}"
            )
        discount = 0.99 if gamma is None else gamma
        return HindsightReplayBuffer(
            buffer_size, strategy=hindsight, gamma=discount, seed=seed
        )
    frames = getattr(env, "frame_stack", 1)
    storage = {"n_step": n_step, "frame_stack": frames, "seed": seed}
    storage["gamma"] = 0.99 if gamma is None else gamma
    if not prioritized:
        return ReplayBuffer(buffer_size, **storage)
    by = "proportional" if prioritized is True else prioritized
    storage |= {"alpha": alpha, "beta": beta, "prioritization": by}
    return PrioritizedReplayBuffer(buffer_size, **storage)
