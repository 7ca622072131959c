"""Collects rollouts, for all training loops and for evaluation."""

from typing import Any, NamedTuple

import tensorflow as tf

from kerasrl2._checks import check_choice
from kerasrl2.layers.sequences import where_reset
from kerasrl2.training.rows import row_specs, seeds_of_steps, stacked_rows
from kerasrl2.types import Rollout


class ActorState(NamedTuple):
    """States of `N` environments and of the policy that plays in them.

    Attributes:
        env_state: Nest of tensors, the environments' own state.
        observation: `[N, ...]` or a nest, what to act on next.
        policy_state: Nest of `[N, ...]`, the policy's state; `()` if it has none.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    >>> env = krl.envs.make("CartPole-v1", num_envs=2)
    >>> begin_episodes(agent, env, [0, 0]).observation.shape
    TensorShape([2, 4])
    """

    env_state: Any
    observation: Any
    policy_state: Any


def begin_episodes(agent, env, seed):
    """`ActorState` at the start of an episode in each of the `N` environments.

    Args:
        agent: `Agent`.
        env: `Environment`.
        seed: `[2]` int32.
    """
    env_state, observation = env.reset(seed)
    return ActorState(env_state, observation, agent.initial_state(env.num_envs))


def collect(
    agent, env, state, length, seed, *, env_steps=0, greedy=False, keep="steps",
    keep_states=False, until=None,
):  # fmt: skip
    """Plays `length` steps in each of `N` environments.

    The policy's state is reset where an episode ends, and in rows that are not
    transitions. For use inside a graph.

    Args:
        agent: `Agent`; `initial_state`, `forward`, `choose`, `greedy` and `head` are
            used.
        env: `Environment` of `N` copies.
        state: `ActorState`.
        length: Integer, `T`.
        seed: `[2]` int32, stateless seed.
        env_steps: Scalar or `[T]` int64, env steps so far at each step, the argument of
            exploration schedules.
        greedy: Boolean, act greedily (True) or explore (False).
        keep: `"signals"` (rewards and flags only), `"steps"` (all but the networks'
            outputs) or `"outputs"` (also `parameters` and `value`).
        keep_states: Boolean, whether to keep the policy's state before each step.
        until: None, or a callable from `[N]` int32, the episodes that ended in each
            environment in this rollout, to a scalar bool. Once it is True, play stops
            and the remaining rows are not valid.

    Returns:
        `(ActorState, Rollout)`: the state after the last step, and all steps.
    """
    check_choice("keep", keep, ("signals", "steps", "outputs"))
    seeds = seeds_of_steps(seed, length, getattr(agent.head, "noise_steps", 1))
    env_steps = tf.broadcast_to(tf.cast(env_steps, tf.int64), [length])
    # An array costs 10 us per step in a graph: the signals share one, without `valid`
    # where all rows are transitions.
    flags = 3 if env.always_valid and until is None else 4

    def step(t, state):
        of_choice, of_env, of_noise = tf.unstack(seeds[t])
        outputs = agent.forward(
            state.observation, state.policy_state, seed=None if greedy else of_noise
        )
        if greedy:
            action = agent.greedy(outputs)
        else:
            action = agent.choose(outputs, of_choice, env_steps[t])
        env_state, after = env.step(state.env_state, agent.head.to_env(action), of_env)
        ended = after.terminated | after.truncated | ~after.valid
        signals = [after.reward, after.terminated, after.truncated, after.valid]
        signals = tf.stack([tf.cast(s, tf.float32) for s in signals[:flags]])
        row = {"signals": signals}
        if keep != "signals":
            row |= {"observation": state.observation, "action": action}
            row["next_observation"] = after.next_observation
        if keep == "outputs":
            row |= {"parameters": outputs.parameters, "value": outputs.value}
        if keep_states:
            row["policy_states"] = state.policy_state
        policy_state = where_reset(
            ended, agent.initial_state(env.num_envs), outputs.policy_state
        )
        state = ActorState(env_state, after.observation, policy_state)
        return state, row, ended & after.valid

    if length == 1 and until is None:
        last, row, _ = step(0, state)
        rows = tf.nest.map_structure(lambda tensor: tensor[None], row)
    else:
        specs = row_specs(agent, state, env.num_envs, flags, keep, keep_states)
        last, rows = stacked_rows(step, specs, state, length, env.num_envs, until)
    signals = rows.pop("signals")
    every_row = tf.ones_like(signals[:, 0], tf.bool)
    rollout = Rollout(
        **({"observation": None, "action": None} | rows),
        reward=signals[:, 0],
        terminated=signals[:, 1] > 0.0,
        truncated=signals[:, 2] > 0.0,
        valid=signals[:, 3] > 0.0 if flags > 3 else every_row,
        last_observation=last.observation,
        policy_state=state.policy_state,
        last_policy_state=last.policy_state,
    )
    return last, rollout
