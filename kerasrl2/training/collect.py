"""Playing: the one function that makes rollouts, for every loop and for evaluation."""

from typing import Any, NamedTuple

import tensorflow as tf

from kerasrl2._checks import check_choice
from kerasrl2.types import Rollout


class ActorState(NamedTuple):
    """Where a group of environments and the policy that plays them stand.

    Attributes:
        env_state: Nest of tensors, the environments' own state.
        observation: `[N, ...]` or a nest, what to act on next.
        policy_state: Nest of `[N, ...]`, what the policy remembers; `()` for nothing.
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
    until=None,
):  # fmt: skip
    """Lets a policy play `length` steps in each of `N` environments.

    Where an episode ends, and in rows that are not transitions, the policy's state
    becomes the initial one. For use inside a graph.

    Args:
        agent: `Agent`: `initial_state`, `forward`, `choose`, `greedy`, `head`.
        env: `Environment` of `N` copies.
        state: `ActorState`.
        length: Integer, `T`.
        seed: `[2]` int32, stateless seed.
        env_steps: Scalar or `[T]` int64, env steps so far at each step, what schedules
            of exploration are over.
        greedy: Boolean, the policy's mode instead of exploring.
        keep: `"signals"` (rewards, flags), `"steps"` (all but what networks said) or
            `"outputs"` (with `parameters` and `value`).
        until: Callable of `[N]` int32, episodes that ended in each environment since
            the rollout began, to a scalar bool; or None. Once it is true no further
            step is made: the rows left are not valid.

    Returns:
        `(ActorState, Rollout)`: after the last step, and all steps.
    """
    check_choice("keep", keep, ("signals", "steps", "outputs"))
    seeds = tf.random.stateless_uniform(
        [length, 3, 2], seed, None, None, tf.int32, alg="philox"
    )
    env_steps = tf.broadcast_to(tf.cast(env_steps, tf.int64), [length])
    # An array costs 10 us a step in a graph: the four signals share one. Rows of most
    # environments are all transitions.
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
        policy_state = where_reset(
            ended, agent.initial_state(env.num_envs), outputs.policy_state
        )
        state = ActorState(env_state, after.observation, policy_state)
        return state, row, ended & after.valid

    if length == 1 and until is None:
        last, row, _ = step(0, state)
        rows = tf.nest.map_structure(lambda tensor: tensor[None], row)
    else:
        specs = _row_specs(agent, env.num_envs, state.observation, flags, keep)
        last, rows = _loop(step, specs, state, length, env.num_envs, until)
    signals = rows.pop("signals")
    all_valid = tf.ones([length, env.num_envs], tf.bool)
    rollout = Rollout(
        **({"observation": None, "action": None} | rows),
        reward=signals[:, 0],
        terminated=signals[:, 1] > 0.0,
        truncated=signals[:, 2] > 0.0,
        valid=all_valid if flags == 3 else signals[:, 3] > 0.0,
        last_observation=last.observation,
        policy_state=state.policy_state,
        last_policy_state=last.policy_state,
    )
    return last, rollout


def where_reset(mask, first, state):
    """`state`, a nest of `[N, ...]`, but `first` in rows where `mask` `[N]` is True."""

    def chosen(start, now):
        rows = tf.reshape(mask, [-1] + [1] * (len(now.shape) - 1))
        return tf.where(rows, tf.cast(start, now.dtype), now)

    return tf.nest.map_structure(chosen, first, state)


def _loop(step, specs, state, length, num_envs, until):
    """Calls `step(t, state)` for each step; returns the last state and stacked rows."""
    leaves = tf.nest.flatten(specs)
    arrays = [tf.TensorArray(s.dtype, length, element_shape=s.shape) for s in leaves]

    def body(t, state, ended, arrays):
        state, row, new = step(t, state)
        if until is not None:
            ended += tf.cast(new, tf.int32)
        row = tf.nest.flatten(row)
        arrays = [a.write(t, leaf) for a, leaf in zip(arrays, row, strict=True)]
        return t + 1, state, ended, arrays

    def goes_on(t, state, ended, arrays):
        return (t < length) & (True if until is None else ~until(ended))

    ended = tf.zeros([num_envs if until is not None else 0], tf.int32)
    _, state, _, arrays = tf.while_loop(
        goes_on, body, (0, state, ended, arrays), parallel_iterations=1
    )
    return state, tf.nest.pack_sequence_as(specs, [array.stack() for array in arrays])


def _row_specs(agent, num_envs, observation, flags, keep):
    """Shapes and dtypes of what `collect` keeps of a step, structured as its rows."""
    specs = {"signals": tf.TensorSpec([flags, num_envs], tf.float32)}
    if keep != "signals":
        seen = tf.nest.map_structure(
            lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), observation
        )
        shape = [num_envs, *agent.head.action_shape]
        specs |= {"observation": seen, "next_observation": seen}
        specs["action"] = tf.TensorSpec(shape, agent.head.action_dtype)
    if keep == "outputs":
        shape = [num_envs, agent.head.num_parameters]
        specs["parameters"] = tf.TensorSpec(shape, tf.float32)
        specs["value"] = tf.TensorSpec([num_envs], tf.float32)
    return specs
