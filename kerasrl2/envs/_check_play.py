"""Plays a Gymnasium environment at random and checks everything it returns."""

import contextlib
import copy
import time

import numpy as np

from kerasrl2.envs._check_report import described
from kerasrl2.envs._check_spaces import Seen
from kerasrl2.envs._leaves import MalformedError, subscript
from kerasrl2.envs._masks import MASK, masks_for
from kerasrl2.envs._spaces import codec, entry_at, leaf_spaces
from kerasrl2.envs._world import (
    RESET_RESULT,
    STEP_RESULT,
    as_flag,
    as_number,
    not_a_tuple,
)

HUGE, SLOW = 1e6, 0.010  # limits of a reward and of a step's seconds
REMEMBERED = 4  # observations that are watched for later changes
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class Failed(Exception):
    """The environment raised, or returned something unusable: play stops."""


class Player:
    """Plays random steps and reports faults.

    Args:
        env: `gymnasium.Env`.
        report: `Report` that collects the faults.
    """

    def __init__(self, env, report):
        self.env, self.report = env, report
        space = env.observation_space
        self._seen, self._codec = Seen(space, report), None
        with contextlib.suppress(ValueError):  # which `check` reports
            self._codec = codec(space, "observation")
        self._spaces = copy.deepcopy(self._current_spaces())
        self._masks = masks_for(space, env.action_space, env.reset)
        self._mask = None  # of the next action
        self._watched = []  # (where, name, returned array, copy of it)

    def play(self, steps, seed):
        """Takes `steps` random steps, or fewer if the environment fails."""
        self.env.action_space.seed(seed)
        lengths, length, seconds = [], 0, []
        try:
            self._reset(seed, "reset")
            for number in range(1, steps + 1):
                action = self._sample()
                where = f"step {number}, action {_short(action)}"
                start = time.perf_counter()
                ended = self._step(action, where)
                seconds.append(time.perf_counter() - start)
                length += 1
                if ended:
                    lengths.append(length)
                    length = 0
                    self._reset(None, f"reset after step {number}")
            self._reset(seed, "reset within an episode")
        except Failed:
            return
        self._seen.judge()
        self._check_lengths(lengths, steps)
        if np.median(seconds) > SLOW:
            self.report.note(
                f"a step takes {1e3 * np.median(seconds):.0f} ms (median)",
                "",
                "find what takes the time with `python -m cProfile`, or step copies "
                "side by side: `make(..., num_envs=8, subprocess=True)`",
            )

    def _sample(self):
        if self._mask is None:
            return self.env.action_space.sample()
        return self._masks.sample(self._mask)

    def _reset(self, seed, where):
        result = self._call("reset", where, lambda: self.env.reset(seed=seed))
        if not isinstance(result, tuple) or len(result) != 2:
            self._fail(
                not_a_tuple(result, RESET_RESULT), where, "return both, as a tuple"
            )
        self._check_observation(result[0], where)
        self._check_mask(*result, False, where)

    def _step(self, action, where):
        """Whether the episode ended."""
        result = self._call("step", where, lambda: self.env.step(action))
        if not isinstance(result, tuple) or len(result) != 5:
            self._fail(
                not_a_tuple(result, STEP_RESULT), where, "return all five, as a tuple"
            )
        observation, reward, terminated, truncated, info = result
        self._check_observation(observation, where)
        self._check_reward(reward, where)
        if not isinstance(info, dict):
            self.report.warning(
                f"`info` is of type {type(info).__name__}",
                where,
                "return a dictionary, `{}` if there is nothing to say",
                kind="info",
            )
        try:
            ends = as_flag(terminated), as_flag(truncated)
        except MalformedError as error:
            self._fail(str(error), where, "return `bool(...)` of each end flag")
        self._check_mask(observation, info, ends[0], where)
        return any(ends)

    def _call(self, method, where, function):
        try:
            result = function()
        except Exception as error:
            self._fail(
                f"`{method}` raised {described(error)}",
                where,
                "fix the environment: training stops with an `EnvironmentFailure`",
            )
        self._check_unchanged(where)
        return result

    def _fail(self, what, where, remedy):
        self.report.error(what, where, remedy)
        raise Failed

    # Checks of returned values

    def _check_observation(self, observation, where):
        if self._codec is None:
            self._check_membership(
                self.env.observation_space, observation, "observation", where
            )
            return
        try:
            with np.errstate(over="ignore"):
                self._codec.put(self._codec.empty(1), 0, observation)
        except Exception as error:
            self._fail(
                f"the observation does not fit its space. {described_fit(error)}",
                where,
                "return what `observation_space` says, or declare the space that fits",
            )
        entries = [
            (f"observation{subscript(*keys)}", space, entry_at(observation, keys))
            for keys, space in leaf_spaces(self.env.observation_space)
        ]
        self._watch([(where, name, value) for name, _, value in entries])
        finite = [self._check_finite(name, value, where) for name, _, value in entries]
        if all(finite):
            self._seen.count(observation)
            for name, space, value in entries:
                self._check_membership(space, value, name, where)

    def _watch(self, entries):
        """Keeps arrays and copies of them, of the latest observations."""
        arrays = [entry for entry in entries if isinstance(entry[-1], np.ndarray)]
        kept = self._watched[-(REMEMBERED - 1) * len(arrays) :] if arrays else []
        self._watched = kept + [(*entry, entry[-1].copy()) for entry in arrays]

    def _check_mask(self, observation, info, terminated, where):
        """Checks the mask of the next action, where an environment has masks."""
        if self._masks is None:
            return
        try:
            seen = self._masks.observed(observation, info, terminated)
        except Exception as error:
            self._fail(
                described_fit(error),
                where,
                "return 1 for each action that is legal in the new state, else 0",
            )
        self._mask = seen[MASK]

    def _check_finite(self, name, value, where):
        """Whether all numbers are finite; reports it if not."""
        array = np.asarray(value)
        if array.dtype.kind != "f" or np.isfinite(array).all():
            return True
        self.report.error(
            f"the {name} holds {array[~np.isfinite(array)][0]}",
            where,
            "find the division by zero or overflow; training stops with a "
            "`NonFiniteError` there",
            kind=f"finite {name}",
        )
        return False

    def _check_membership(self, space, value, name, where):
        try:
            inside = space.contains(value)
        except Exception:
            inside = False
        if inside:
            return
        dtype = getattr(value, "dtype", None)
        shape = getattr(value, "shape", None)
        if shape == space.shape and dtype is not None and dtype != space.dtype:
            self.report.warning(
                f"the {name} has dtype {dtype}, its space has {space.dtype}",
                where,
                f"return `.astype({np.dtype(space.dtype).name!r})`; training converts",
                kind=f"dtype {name}",
            )
            if not _outside(space, value):
                return
        self.report.warning(
            f"the {name} {_short(value)} is not in {space}",
            where,
            "declare bounds that hold, or clip; training uses the value as it is",
            kind=f"outside {name}",
        )

    def _check_reward(self, reward, where):
        try:
            number = as_number(reward)
        except Exception as error:
            self._fail(described_fit(error), where, "return `float(reward)`")
        remedy = "find the division by zero or overflow"
        if not np.isfinite(number):
            self.report.error(
                f"the reward is {number}", where, remedy, kind="finite reward"
            )
        elif abs(number) > _FLOAT32_MAX:
            self.report.error(
                f"the reward {number:.3g} is infinite in float32",
                where,
                "scale or clip it: `gymnasium.wrappers.TransformReward`",
                kind="finite reward",
            )
        elif abs(number) > HUGE:
            self.report.warning(
                f"the reward {number:.3g} is huge",
                where,
                "scale or clip it (`gymnasium.wrappers.TransformReward`), or train "
                "with `normalize_rewards=True`; losses are squares and overflow",
                kind="huge reward",
            )

    def _check_unchanged(self, where):
        """Reports arrays returned earlier, or spaces, that have changed."""
        for earlier, name, array, copied in self._watched:
            if not np.array_equal(array, copied, equal_nan=array.dtype.kind == "f"):
                self.report.warning(
                    f"the {name} returned at {earlier} changes later",
                    where,
                    "return `observation.copy()`; training is safe, it copies at "
                    "once, but your own loops are not",
                    kind="reused",
                )
                self._watched = []
                break
        if self._current_spaces() != self._spaces:
            self.report.error(
                "the spaces change while the environment runs",
                where,
                "set them once, in the constructor, wide enough for all episodes",
                kind="changing spaces",
            )

    def _current_spaces(self):
        return [self.env.observation_space, self.env.action_space]

    def _check_lengths(self, lengths, steps):
        if len(lengths) > 1 and set(lengths) == {1}:
            self.report.warning(
                "all episodes end on their first step",
                "step 1",
                "if that is not meant, look at how `terminated` is computed",
            )
        if not lengths and not _has_limit(self.env):
            self.report.warning(
                f"no episode ended within {steps} steps, and there is no time limit",
                "",
                "pass `max_episode_steps=...` to `gymnasium.register`, or wrap it: "
                "`gymnasium.wrappers.TimeLimit(env, 1_000)`; without ends no return "
                "is logged and an evaluation ends with an error",
            )


def described_fit(error):
    """The text of a `MalformedError`, type and text of other exceptions."""
    return str(error) if isinstance(error, MalformedError) else described(error)


def _outside(space, observation):
    """Whether an array of the right shape leaves the bounds of a `Box`."""
    low, high = getattr(space, "low", -np.inf), getattr(space, "high", np.inf)
    return bool(np.any(observation < low) or np.any(observation > high))


def _short(value):
    return np.array2string(np.asarray(value), threshold=8).replace("\n", "")


def _has_limit(env):
    """Whether a wrapper or the registration limits the episode length."""
    while True:
        if isinstance(getattr(env, "_max_episode_steps", None), int):
            return True
        if not hasattr(env, "env"):
            return False
        env = env.env
