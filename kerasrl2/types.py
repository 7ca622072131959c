"""Data structures that modules exchange."""

from typing import Any, NamedTuple


class TimeStep(NamedTuple):
    """One step of `N` environments in lockstep.

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

    Example:
    >>> from kerasrl2 import envs
    >>> env = envs.make("CartPole-v1", num_envs=2)
    >>> state, _ = env.reset([0, 0])
    >>> _, time_step = env.step(state, [0, 1], [0, 1])
    >>> time_step.observation.shape, time_step.terminated.numpy().tolist()
    (TensorShape([2, 4]), [False, False])
    """

    observation: Any
    next_observation: Any
    reward: Any
    terminated: Any
    truncated: Any
    valid: Any


class PolicyOutputs(NamedTuple):
    """What an agent's networks compute from a batch of observations.

    Attributes:
        parameters: `[B, P]` float32, what actions are chosen from: parameters of a
            policy head, or action values `[B, A]`.
        value: `[B]` float32, `V(observation)` in units of return; None without critic.
        policy_state: Nest of `[B, ...]`, the policy's (recurrent) state for the next
            step; `()` for a policy without state.
        intrinsic_value: `[B]` float32, the value of intrinsic rewards alone; None
            without.

    Example:
    >>> import numpy as np
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    >>> outputs = agent.forward(np.zeros([5, 4], np.float32))
    >>> outputs.parameters.shape, outputs.value.shape
    (TensorShape([5, 2]), TensorShape([5]))
    """

    parameters: Any
    value: Any = None
    policy_state: Any = ()
    intrinsic_value: Any = None


class Rollout(NamedTuple):
    """`T` consecutive steps of `N` environments, time-major.

    Observations and actions may be nests of such tensors.

    Attributes:
        observation: `[T, N, ...]`, what the actions were chosen for.
        action: `[T, N]` or `[T, N, D]`, in the policy's own coordinates (for instance
            before tanh), the ones the loss uses.
        reward: `[T, N]` float32, for the action of the same index.
        terminated: `[T, N]` bool.
        truncated: `[T, N]` bool.
        valid: `[T, N]` bool, False for rows that are not transitions.
        next_observation: `[T, N, ...]`, the true successor of the action.
        last_observation: `[N, ...]`, what the next action will be chosen for.
        policy_state: Nest of `[N, ...]`, the policy's state before step 0.
        last_policy_state: The same after the last step.
        parameters: `[T, N, P]` float32, `PolicyOutputs.parameters` of the forward pass
            that chose the actions, or None if they were not kept.
        value: `[T, N]` float32 from the same forward pass, or None.
        log_ratio: `[T, N]` float32, nats, log-probability of the actions under the
            policy that learns minus that under the one that acted; None if they are the
            same.
        policy_states: Nest of `[T, N, ...]`, the policy's state before each step; `()`
            if it was not kept.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", num_envs=2, seed=0)
    >>> env = krl.envs.make("CartPole-v1", num_envs=2)
    >>> state = krl.training.begin_episodes(agent, env, [0, 0])
    >>> _, rollout = krl.training.collect(agent, env, state, length=3, seed=[0, 1])
    >>> rollout.observation.shape, rollout.reward.shape
    (TensorShape([3, 2, 4]), TensorShape([3, 2]))
    """

    observation: Any
    action: Any
    reward: Any
    terminated: Any
    truncated: Any
    valid: Any
    next_observation: Any = None
    last_observation: Any = None
    policy_state: Any = ()
    last_policy_state: Any = ()
    parameters: Any = None
    value: Any = None
    log_ratio: Any = None
    policy_states: Any = ()


class IntrinsicBatch(NamedTuple):
    """What an `OnPolicyBatch` says of intrinsic rewards.

    Attributes:
        reward: `[...]` float32, scaled.
        value: `[...]` float32, of intrinsic rewards, before learning from the rollout.
        target: `[...]` float32, regression target of this value.
        data: Nest of `[..., *shape]`, what the source of the rewards learns from.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", intrinsic_reward="rnd", seed=0)
    >>> env = krl.envs.make("CartPole-v1", num_envs=2)
    >>> state = krl.training.begin_episodes(agent, env, [0, 0])
    >>> _, rollout = krl.training.collect(agent, env, state, length=3, seed=[0, 1])
    >>> batch, _ = agent.prepare(rollout, agent.initial_learner_state(2))
    >>> batch.intrinsic.reward.shape, batch.intrinsic.value.shape
    (TensorShape([6]), TensorShape([6]))
    """

    reward: Any
    value: Any
    target: Any
    data: Any


class OnPolicyBatch(NamedTuple):
    """A minibatch for actor-critic losses.

    `[...]` is `[B]`, steps of a rollout in any order; for a policy with a state it is
    `[n, T]`, `n` sequences of `T` steps in order: whole rollouts of environments, or
    pieces of `sequence_length`.

    Attributes:
        observation: `[..., *shape]`, or a nest.
        action: `[...]` int32 or `[..., D]` float32, in the policy's own coordinates.
        log_prob: `[...]` float32, nats, under the policy before learning from the
            rollout, which is the one that acted, unless the rollout is older.
        value: `[...]` float32, `V(s)` of the critic before learning from the rollout.
        advantage: `[...]` float32, not normalised.
        target: `[...]` float32, regression target of the value, in units of return.
        valid: `[...]` bool, False for rows that are not transitions.
        resets: `[n, T]` bool, whether the policy's state was reset after the step; `()`
            without state.
        policy_state: Nest of `[n, ...]`, the policy's state before the first step.
        parameters: `[..., P]` float32, of the policy of `log_prob`; `()` if not needed.
        behaviour_log_prob: `[...]` float32, nats, under the policy that acted; `()`
            without V-trace.
        intrinsic: `IntrinsicBatch`; `()` without intrinsic rewards.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    >>> env = krl.envs.make("CartPole-v1", num_envs=2)
    >>> state = krl.training.begin_episodes(agent, env, [0, 0])
    >>> _, rollout = krl.training.collect(agent, env, state, length=3, seed=[0, 1])
    >>> batch, _ = agent.prepare(rollout, agent.initial_learner_state(2))
    >>> batch.observation.shape, batch.advantage.shape
    (TensorShape([6, 4]), TensorShape([6]))
    """

    observation: Any
    action: Any
    log_prob: Any
    value: Any
    advantage: Any
    target: Any
    valid: Any
    resets: Any = ()
    policy_state: Any = ()
    parameters: Any = ()
    behaviour_log_prob: Any = ()
    intrinsic: Any = ()


class Transition(NamedTuple):
    """One-step or n-step transitions, the input of every off-policy agent.

    Attributes:
        observation: `[B, ...]`, or a dictionary of such tensors.
        action: `[B]` int (discrete) or `[B, D]` float (continuous).
        reward: `[B]` float32, the discounted sum of the `m <= n_step` rewards.
        discount: `[B]` float32, `gamma**m * (1 - terminated)`; truncation keeps it.
        next_observation: As `observation`, the true successor after `m` steps, never
            the first observation of the next episode.
        weight: `[B]` float32, importance-sampling weight; ones if sampled uniformly.
        memory: `Memory` of a network with a state; `()` without.

    Example:
    >>> import numpy as np
    >>> import kerasrl2 as krl
    >>> buffer = krl.buffers.NumpyReplayBuffer(10, gamma=0.9)
    >>> index = buffer.add([[0.0]], [1], [2.0], [False], [False], [[1.0]])
    >>> _, transition = buffer.sample(1, seed=[0, 0])
    >>> float(transition.reward[0]), round(float(transition.discount[0]), 3)
    (2.0, 0.9)
    """

    observation: Any
    action: Any
    reward: Any
    discount: Any
    next_observation: Any
    weight: Any
    memory: Any = ()


class Memory(NamedTuple):
    """States of recurrent networks, for transitions taken from replayed sequences.

    Attributes:
        target: Nest of `[B, ...]`, of the target network, before `observation`.
        next_target: Nest of `[B, ...]`, the same before `next_observation`.
        next_online: Nest of `[B, ...]`, of the network that is trained, before
            `next_observation`.

    Example:
    >>> import numpy as np
    >>> state = np.zeros([32, 8], np.float32)  # of a network with 8 units
    >>> memory = Memory(target=state, next_target=state, next_online=state)
    >>> memory.next_online.shape
    (32, 8)
    """

    target: Any
    next_target: Any
    next_online: Any


class ReplayedSequences(NamedTuple):
    """`B` sequences of `L` consecutive steps from a replay buffer.

    They do not stop where episodes end: `ended` says where. Fields without a comment
    are those of `Transition` of one step.

    Attributes:
        observation: `[B, L, ...]`, or a nest.
        action: `[B, L, ...]`, or a nest.
        reward: `[B, L]` float32.
        discount: `[B, L]` float32, `gamma * (1 - terminated)`.
        next_observation: `[B, L, ...]`, or a nest.
        ended: `[B, L]` bool, whether the next row begins an episode, or is none; True
            in the last one.
        valid: `[B, L]` bool, False for rows beyond the newest transition.
        weight: `[B]` float32, importance-sampling weight of the sequence.

    Example:
    >>> import kerasrl2 as krl
    >>> buffer = krl.buffers.ReplayBuffer(8, gamma=0.5)
    >>> for t in range(4):
    ...     index = buffer.add([[t]], [t], [1.0], [t == 1], [False], [[t + 1]])
    >>> batch = buffer.sequences(index, length=3)
    >>> batch.reward.shape, batch.ended.numpy().tolist()
    (TensorShape([1, 3]), [[True, False, True]])
    """

    observation: Any
    action: Any
    reward: Any
    discount: Any
    next_observation: Any
    ended: Any
    valid: Any
    weight: Any


class Gradients(NamedTuple):
    """Loss and gradients of one batch.

    Attributes:
        loss: Scalar float32.
        norm: Scalar float32, global norm of the gradients before clipping.
        values: List of tensors, one gradient per variable, in the variables' order.
        metrics: What the loss function returned in addition to the loss.

    Example:
    >>> gradients = Gradients(loss=0.5, norm=2.0, values=[], metrics={})
    >>> gradients._replace(norm=1.0).norm
    1.0
    """

    loss: Any
    norm: Any
    values: Any
    metrics: Any
