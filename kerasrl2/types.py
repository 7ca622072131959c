"""Structures that cross module borders."""

from typing import Any, NamedTuple


class TimeStep(NamedTuple):
    """What one step of `N` environments in lockstep returns.

    Attributes:
        observation: `[N, ...]`, what to act on next: already the first observation of a
            new episode where the last one ended.
        next_observation: `[N, ...]`, the true successor of the action. Differs from
            `observation` only in rows where an episode ended.
        reward: `[N]` float32.
        terminated: `[N]` bool, the episode ended in a state of value 0. The only flag
            that stops bootstrapping.
        truncated: `[N]` bool, the episode was cut, for instance by a time limit.
        valid: `[N]` bool, False for a row that is not a transition (the reset step of
            next-step autoreset). Such a row enters no buffer, loss or statistic.
    """

    observation: Any
    next_observation: Any
    reward: Any
    terminated: Any
    truncated: Any
    valid: Any


class Rollout(NamedTuple):
    """`T` consecutive steps of `N` environments, time-major.

    Attributes:
        observation: `[T, N, ...]`, what was acted on.
        action: `[T, N]` or `[T, N, D]`, in the policy's own coordinates (for instance
            before tanh), the ones the loss scores.
        reward: `[T, N]` float32, follows the action.
        terminated: `[T, N]` bool.
        truncated: `[T, N]` bool.
        valid: `[T, N]` bool, False for rows that are not transitions.
        next_observation: `[T, N, ...]`, the true successor of the action.
        parameters: `[T, N, P]` float32, of the policy that acted, or None where the
            loop had rather compute those of all steps at once.
        value: `[T, N]` float32, `V(observation)` from the same pass, or None.
    """

    observation: Any
    action: Any
    reward: Any
    terminated: Any
    truncated: Any
    valid: Any
    next_observation: Any
    parameters: Any = None
    value: Any = None


class OnPolicyBatch(NamedTuple):
    """What actor-critic losses see: `B` steps, flattened from a rollout.

    Attributes:
        observation: `[B, ...]`.
        action: `[B]` int32 or `[B, D]` float32, in the policy's own coordinates.
        log_prob: `[B]` float32, nats, under the policy that acted.
        value: `[B]` float32, `V(s)` when the rollout ended.
        advantage: `[B]` float32, not normalised.
        target: `[B]` float32, what the value is fitted to, in units of return.
        valid: `[B]` bool, False for rows that are not transitions.
    """

    observation: Any
    action: Any
    log_prob: Any
    value: Any
    advantage: Any
    target: Any
    valid: Any


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


class Gradients(NamedTuple):
    """What a loss says of a batch.

    Attributes:
        loss: Scalar float32.
        norm: Scalar float32, of all gradients together, before clipping.
        values: List of tensors, as `trainable_variables`.
        metrics: Dictionary, what `compute_loss` returned beside the loss.
    """

    loss: Any
    norm: Any
    values: Any
    metrics: Any
