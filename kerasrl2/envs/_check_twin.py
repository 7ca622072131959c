"""Compares an environment in TensorFlow, step by step, with one of Gymnasium."""

import numpy as np
import tensorflow as tf

from kerasrl2.envs._check_report import described
from kerasrl2.envs._leaves import subscript
from kerasrl2.envs._masks import MASK, Masks, declares_mask
from kerasrl2.envs._spaces import codec, entry_at, leaf_spaces

_RTOL, _ATOL = 1e-4, 1e-5  # float32 against what may be float64


def compare(env, twin, steps, seed, report):
    """Takes random steps from states that random play reaches, in both.

    Compared are `transition` and `observe`, without chance and time limit.

    Args:
        env: `TensorFlowEnvironment`.
        twin: Callable from the `physics` of one copy, a nest of NumPy arrays, to a
            `gymnasium.Env` in this state.
        steps: Integer, steps to compare.
        seed: Integer.
        report: `Report` that collects the differences.
    """
    observations = codec(env.observation_space, "observation")
    actions = codec(env.action_space, "action")
    masks = None
    if declares_mask(env.observation_space):
        masks = Masks(env.observation_space, env.action_space)
    env.action_space.seed(seed)

    @tf.function(autograph=False)
    def one_step(physics, action):
        physics, reward, terminated = env.transition(physics, action)
        return env.observe(physics), reward, terminated

    state, shown = env.reset(tf.constant([seed, 0]))
    for number in range(1, steps + 1):
        rows = [
            env.action_space.sample() if masks is None else masks.sample(mask)
            for mask in (shown[MASK].numpy() if masks else range(env.num_envs))
        ]
        dtype = tf.int32 if np.asarray(rows).dtype.kind in "iu" else tf.float32
        action = tf.constant(np.asarray(rows), dtype)
        copy = number % env.num_envs
        ours = tf.nest.map_structure(
            lambda tensor, copy=copy: tensor.numpy()[copy],
            one_step(state.physics, action),
        )
        before = tf.nest.map_structure(
            lambda tensor, copy=copy: tensor.numpy()[copy], state.physics
        )
        where = f"comparison {number}, action {rows[copy]}"
        try:
            peer = twin(before)
            theirs = peer.step(actions.take(action.numpy())[copy])
            batch = observations.empty(1)
            observations.put(batch, 0, theirs[0])
        except Exception as error:
            report.error(
                f"the twin raised {described(error)}",
                where,
                "let `twin` return a `gymnasium.Env` in the state it is given",
            )
            return
        _compare_observations(env, ours[0], batch, where, report)
        _compare("reward", ours[1], theirs[1], where, report)
        _compare("terminated", ours[2], theirs[2], where, report)
        state, after = env.step(state, action, tf.constant([seed, number]))
        shown = after.observation


def _compare_observations(env, ours, batch, where, report):
    for keys, _ in leaf_spaces(env.observation_space):
        name = f"next observation{subscript(*keys)}"
        _compare(name, entry_at(ours, keys), entry_at(batch, keys)[0], where, report)


def _compare(name, ours, theirs, where, report):
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, _RTOL, _ATOL):
        report.error(
            f"{name} is {ours.tolist()!s:.80}, the twin's {theirs.tolist()!s:.80}",
            where,
            "make `transition` and `observe` do what the twin's `step` does",
            kind=f"twin {name}",
        )
