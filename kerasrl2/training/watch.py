"""Numbers that a float32 cannot hold, or that nothing can be learned from."""

import warnings

import numpy as np

HUGE = 1e15  # squares of squares overflow, gradients with them
LARGEST_INTEGER = 2**24  # up to here a float32 holds all of them


class NumberWatch:
    """Warns of such numbers, once of each kind; training goes on.

    Rewards are looked at one by one; observations as often as blocks end, about twice a
    second, which finds what is wrong with all of them.

    Args:
        env: `Environment`.
        guard: `Guard`, which remembers the largest reward.
        steps: Integer, vector steps an iteration of the loop takes.
    """

    def __init__(self, env, guard, steps):
        self.env, self._guard, self._steps = env, guard, steps
        self._told = set()

    def look(self, observation):
        """Looks at `[N, ...]`, what will be acted on next, and at the rewards so far.

        Args:
            observation: Tensor, or a nest of them.
        """
        reward, step, index = self._guard.largest(self._steps)
        if abs(reward) > HUGE:
            self._tell(
                "reward",
                f"a reward of {reward:.3g} from environment {index} of "
                f"{self.env.id!r} at its step {step}. Squares of such numbers overflow "
                "a float32. Scale or clip rewards: "
                "`gymnasium.wrappers.TransformReward`, `normalize_rewards=True`, or "
                "DQN's `clip_rewards=True`.",
            )
        for place, space, part in _parts(self.env.observation_space, observation):
            for kind, text in _unfit(space, part):
                self._tell(kind, f"{text} of {self.env.id!r}{place}{_ADVICE[kind]}")

    def _tell(self, kind, text):
        if kind not in self._told:
            self._told.add(kind)
            expected = "Expected numbers that can be learned from. Received: "
            warnings.warn(expected + text, stacklevel=6)


def _parts(space, observation, place=""):
    """Yields `(place, Box, array)` of the boxes in a space."""
    if isinstance(observation, dict | tuple):
        named = isinstance(observation, dict)
        for key in observation if named else range(len(observation)):
            inner = f"{place}[{key!r}]" if place else f", entry [{key!r}]"
            yield from _parts(space[key], observation[key], inner)
    elif hasattr(space, "low") and hasattr(observation, "numpy"):
        yield place, space, observation.numpy()


_ADVICE = {
    "integer": (
        ". A float32 holds integers up to 16,777,216; of larger ones the last digits "
        "are lost. Scale them, or split them into several numbers."
    ),
    "huge": ". Squares of such numbers overflow a float32. Scale observations.",
    "outside": (
        ". Declare bounds that hold, or clip: networks scale by them, and training "
        "uses the value as it is."
    ),
}


def _unfit(space, observation):
    """Yields `(kind, where)` of the first entry of each kind."""
    values = observation.astype(np.float64)
    size = np.abs(values)
    if observation.dtype.kind in "iu":
        yield from _first("integer", size > LARGEST_INTEGER, observation)
    else:
        yield from _first("huge", np.isfinite(size) & (size > HUGE), observation)
    low, high = (bound.astype(np.float64) for bound in (space.low, space.high))
    with np.errstate(invalid="ignore", over="ignore"):
        width = high - low
        outside = np.maximum(low - values, values - high)
        bad = np.isfinite(width) & (outside > width) & np.isfinite(values)
    bounds = f", far outside of {low.min():.6g} to {high.max():.6g},"
    yield from _first("outside", bad, observation, bounds)


def _first(kind, bad, observation, more=""):
    if bad.any():
        index, *entry = (int(i) for i in np.argwhere(bad)[0])
        value = observation[(index, *entry)]
        place = f"entry {entry}" if entry else "the value"
        yield (
            kind,
            (f"{value:,}{more} in {place} of an observation of environment {index}"),
        )
