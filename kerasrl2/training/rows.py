"""Rows of a rollout: what steps return, stacked."""

import tensorflow as tf

from kerasrl2._seeds import seeds_from


def stacked_rows(step, specs, state, length, num_envs, until=None):
    """Calls a function for each step of a rollout, in a loop of the graph.

    Args:
        step: Callable from a step's number, a scalar int32, and the state, to
            `(state, row, ended)`: the next state, a nest of tensors, and `[N]` bool,
            where an episode ended.
        specs: Nest of `tf.TensorSpec`, like a row.
        state: Nest of tensors, before the first step.
        length: Integer, `T`.
        num_envs: Integer, `N`.
        until: None, or a callable from `[N]` int32, the episodes that ended so far in
            each environment, to a scalar bool: once it is True, the remaining rows
            are zeros.

    Returns:
        `(state, rows)`: the last state, and a nest of `[T, ...]`.
    """
    leaves = tf.nest.flatten(specs)
    arrays = [tf.TensorArray(s.dtype, length, element_shape=s.shape) for s in leaves]

    def body(t, state, ended, arrays):
        state, row, new = step(t, state)
        if until is not None:
            ended += tf.cast(new, tf.int32)
        row = tf.nest.flatten(row)
        arrays = [a.write(t, leaf) for a, leaf in zip(arrays, row, strict=True)]
        return t + 1, state, ended, arrays

    def continues(t, state, ended, arrays):
        return (t < length) & (True if until is None else ~until(ended))

    ended = tf.zeros([num_envs if until is not None else 0], tf.int32)
    _, state, _, arrays = tf.while_loop(
        continues, body, (0, state, ended, arrays), parallel_iterations=1
    )
    return state, tf.nest.pack_sequence_as(specs, [array.stack() for array in arrays])


def seeds_of_steps(seed, length, held=1):
    """`[T, 3, 2]` int32: seeds to choose actions, of environments and of networks.

    Args:
        seed: `[2]` int32.
        length: Integer, `T`.
        held: Integer, steps in a row whose actions are chosen with the same seed.
    """
    seeds = seeds_from(seed, length, 3)
    if held == 1:
        return seeds
    of_choice = tf.repeat(seeds[::held, :1], held, axis=0)[:length]
    return tf.concat([of_choice, seeds[:, 1:]], axis=1)


def row_specs(agent, state, num_envs, flags, keep, keep_states):
    """Shapes and dtypes of what `collect` keeps of a step, structured as its rows.

    Args:
        agent: `Agent`.
        state: `ActorState`.
        num_envs: Integer, `N`.
        flags: Integer, rows of the tensor of signals.
        keep: String, as of `collect`.
        keep_states: Boolean, as of `collect`.
    """
    specs = {"signals": tf.TensorSpec([flags, num_envs], tf.float32)}
    if keep != "signals":
        seen = tf.nest.map_structure(tf.TensorSpec.from_tensor, state.observation)
        shape = [num_envs, *agent.head.action_shape]
        specs |= {"observation": seen, "next_observation": seen}
        specs["action"] = tf.TensorSpec(shape, agent.head.action_dtype)
    if keep == "outputs":
        shape = [num_envs, agent.head.num_parameters]
        specs["parameters"] = tf.TensorSpec(shape, tf.float32)
        specs["value"] = tf.TensorSpec([num_envs], tf.float32)
    if keep_states:
        specs["policy_states"] = tf.nest.map_structure(
            tf.TensorSpec.from_tensor, state.policy_state
        )
    return specs
