"""Plays an `Environment` at random in its compiled step and checks what it returns."""

import time

import numpy as np
import tensorflow as tf

from kerasrl2.envs._check_play import HUGE, SLOW
from kerasrl2.envs._check_report import described
from kerasrl2.envs._check_spaces import Seen, check_action_space
from kerasrl2.envs._leaves import subscript
from kerasrl2.envs._masks import MASK, Masks, declares_mask
from kerasrl2.envs._spaces import codec, entry_at, leaf_spaces

_FIELDS = "observation", "next_observation", "reward", "terminated", "truncated"


def play(env, steps, seed, report):
    """Takes `steps` random steps in each copy of an `Environment`.

    Args:
        env: `Environment`; left in the middle of episodes.
        steps: Integer.
        seed: Integer.
        report: `Report` that collects the faults.
    """
    reset, step = (
        tf.function(method, jit_compile=env.in_graph, autograph=False)
        for method in (env.reset, env.step)
    )
    where, seen = "reset", Seen(env.observation_space, report)
    if not check_action_space(env.action_space, report):
        return
    masks = None
    if declares_mask(env.observation_space):
        masks = Masks(env.observation_space, env.action_space)
    actions = _actions(env, min(steps, 1_000), seed)
    try:
        with env.errors():
            state, first = reset(tf.constant([seed, 0]))
        if not _fits(env, "the first observation", first, report):
            return
        shown = first
        lengths, length, seconds = [], np.zeros(env.num_envs, int), []
        for number in range(1, steps + 1):
            where = f"step {number}"
            start = time.perf_counter()
            with env.errors():
                action = actions[number % len(actions)]
                if masks is not None:
                    action = [masks.sample(mask) for mask in shown[MASK].numpy()]
                action = tf.constant(action, actions.dtype)
                state, after = step(state, action, tf.constant([seed, number]))
            seconds.append(time.perf_counter() - start)
            if number == 1 and not _check_kinds(env, after, report):
                return
            _check_values(env, after, where, report)
            shown = after.observation
            seen.count(after.next_observation)
            length += after.valid.numpy()
            ended = after.terminated.numpy() | after.truncated.numpy()
            lengths += length[ended].tolist()
            length[ended] = 0
        where = "reset"
        with env.errors():
            again = reset(tf.constant([seed, 0]))[1]
    except Exception as error:
        report.error(
            f"it raised {described(error)}",
            where,
            "fix the environment; if XLA cannot compile it, use operations with static "
            "shapes only",
        )
        return
    pairs = zip(tf.nest.flatten(first), tf.nest.flatten(again), strict=True)
    if not all(np.array_equal(*pair) for pair in pairs):
        report.warning(
            "one seed gives different first observations",
            "reset",
            "draw with the stateless functions, `tf.random.stateless_uniform`, and "
            "the given seed",
        )
    seen.judge()
    _check_episodes(env, lengths, steps, np.median(seconds), report)


def _actions(env, count, seed):
    """`[count, N, ...]`, random."""
    env.action_space.seed(seed)
    sampled = [
        [env.action_space.sample() for _ in range(env.num_envs)] for _ in range(count)
    ]
    integers = np.issubdtype(env.action_space.dtype, np.integer)
    return np.array(sampled, np.int32 if integers else np.float32)


def _fits(env, name, value, report):
    """Whether structure, shapes and dtypes are those of the space; reports if not."""
    remedy = "let `observe` return what `observation_space` says, for all copies"
    structure = codec(env.observation_space, "observation").structure
    try:
        tf.nest.assert_same_structure(structure, value)
    except (ValueError, TypeError):
        received = tf.nest.map_structure(lambda x: tuple(x.shape), value)
        expected = tf.nest.map_structure(lambda x: (env.num_envs, *x.shape), structure)
        report.error(
            f"{name} has shapes {received}; its space says {expected}", "", remedy
        )
        return False
    fits = True
    for keys, _ in leaf_spaces(env.observation_space):
        layout, tensor = entry_at(structure, keys), entry_at(value, keys)
        shape = (env.num_envs, *layout.shape)
        if tuple(tensor.shape) != shape or tensor.dtype.as_numpy_dtype != layout.dtype:
            fits = False
            report.error(
                f"{name}{subscript(*keys)} has shape {tuple(tensor.shape)} and dtype "
                f"{tensor.dtype.name}; its space says {shape} and {layout.dtype}",
                "",
                remedy,
            )
    return fits


def _check_kinds(env, after, report):
    """Whether the fields of a `TimeStep` have the right shapes and dtypes."""
    fits = True
    for name in _FIELDS[:2]:
        fits &= _fits(env, f"`{name}`", getattr(after, name), report)
    for name in _FIELDS[2:]:
        value = getattr(after, name)
        dtype = tf.float32 if name == "reward" else tf.bool
        if tuple(value.shape) != (env.num_envs,) or value.dtype != dtype:
            fits = False
            report.error(
                f"`{name}` has shape {tuple(value.shape)} and dtype {value.dtype.name}",
                "step 1",
                f"return shape {(env.num_envs,)} and dtype {dtype.name}",
            )
    return fits


def _check_values(env, after, where, report):
    for field in _FIELDS[:2]:
        for keys, space in leaf_spaces(env.observation_space):
            value = entry_at(getattr(after, field), keys).numpy()
            name = f"`{field}{subscript(*keys)}`"
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                report.error(
                    f"{name} holds {value[~np.isfinite(value)][0]}",
                    where,
                    "find the division by zero or overflow; `tf.where` does not stop "
                    "the branch that is not taken",
                    kind=f"finite observation{subscript(*keys)}",
                )
            elif not all(map(space.contains, value)):
                report.warning(
                    f"{name} is not in {space}",
                    where,
                    "declare bounds that hold, or clip; training uses the value as it "
                    "is",
                    kind=f"outside {subscript(*keys)}",
                )
    reward = after.reward.numpy()
    if not np.isfinite(reward).all():
        report.error(
            f"the reward is {reward[~np.isfinite(reward)][0]}",
            where,
            "find the division by zero or overflow",
            kind="finite reward",
        )
    elif np.abs(reward).max() > HUGE:
        report.warning(
            f"the reward {np.abs(reward).max():.3g} is huge",
            where,
            "scale or clip it, or train with `normalize_rewards=True`; losses are "
            "squares and overflow",
            kind="huge reward",
        )


def _check_episodes(env, lengths, steps, seconds, report):
    if len(lengths) > 1 and set(lengths) == {1}:
        report.warning(
            "all episodes end on their first step",
            "step 1",
            "if that is not meant, look at how `terminated` is computed",
        )
    if not lengths and getattr(env, "max_episode_steps", None) is None:
        report.warning(
            f"no episode ended within {steps} steps, and there is no time limit",
            "",
            "give it `max_episode_steps`; without ends no return is logged and an "
            "evaluation ends with an error",
        )
    if seconds > SLOW:
        report.note(
            f"a step takes {1e3 * seconds:.0f} ms (median)",
            "",
            "look for operations that the number of copies does not need",
        )
