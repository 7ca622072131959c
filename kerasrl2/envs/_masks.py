"""Which actions are legal: `info["action_mask"]` as an entry of observations."""

import numpy as np
from gymnasium import spaces

from kerasrl2.envs._leaves import MalformedError, as_array

MASK, OBSERVATION = "action_mask", "observation"


class Masks:
    """Puts the masks of `info` into observations, and checks all masks.

    An observation becomes `{"observation": ..., "action_mask": ...}`; one that is a
    dictionary gets the entry `action_mask`, unless it has it already. A mask is int8,
    1 for each legal action; of `MultiDiscrete` actions it is the masks of all
    components one after another.

    Args:
        observation_space: `gymnasium.Space` of one environment.
        action_space: `Discrete` or `MultiDiscrete`.

    Attributes:
        observation_space: `gymnasium.Space` with the entry.
    """

    def __init__(self, observation_space, action_space):
        self._actions = action_space
        sizes = np.ravel(getattr(action_space, "nvec", getattr(action_space, "n", 0)))
        self._starts = np.cumsum([0, *sizes[:-1]])  # of the components
        self._length = int(sum(sizes))
        self._extends = isinstance(observation_space, spaces.Dict)
        self._declared = declares_mask(observation_space)
        self.observation_space = observation_space
        if not self._declared:
            entries = {OBSERVATION: observation_space}
            entries = dict(observation_space) if self._extends else entries
            mask = spaces.MultiBinary(self._length)
            self.observation_space = spaces.Dict({**entries, MASK: mask})

    def observed(self, observation, info, terminated=False):
        """An observation with its mask.

        Args:
            observation: As the environment gave it.
            info: Its `info`.
            terminated: Boolean, whether nobody has to act on it: then its mask may be
                missing or have no legal action, and becomes ones.
        """
        given = observation if self._declared else info
        mask = given.get(MASK) if isinstance(given, dict) else None
        if terminated and (mask is None or not np.any(_joined(mask))):
            mask = np.ones(self._length, np.int8)
        return self._with(observation, self._checked(mask))

    def observed_by_all(self, observations, info, acts):
        """The observations of all environments with their masks.

        Args:
            observations: `[N, ...]` or a nest, as the vector environment gave it.
            info: Its `info`; the entry `_action_mask` tells whose mask is given.
            acts: `[N]` bool, where somebody has to act on the observation.
        """
        given = observations if self._declared else info
        masks = given.get(MASK) if isinstance(given, dict) else None
        present = given.get(f"_{MASK}") if isinstance(given, dict) else None
        rows = np.ones((len(acts), self._length), np.int8)
        for index, needed in enumerate(acts):
            told = masks is not None and (present is None or present[index])
            mask = masks[index] if told else None
            if needed or (mask is not None and np.any(_joined(mask))):
                rows[index] = self._checked(mask, f" of environment {index}")
        return self._with(observations, rows)

    def sample(self, mask):
        """A random action that a mask allows, by the generator of the action space."""
        parts = np.split(np.asarray(mask), self._starts[1:])
        random = self._actions.np_random
        chosen = [random.choice(np.flatnonzero(part)) for part in parts]
        number = np.reshape(chosen, self._actions.shape).astype(self._actions.dtype)
        return number[()] + getattr(self._actions, "start", 0)

    def _with(self, observation, mask):
        if self._extends:
            return {**observation, MASK: mask}
        return {OBSERVATION: observation, MASK: mask}

    def _checked(self, mask, whose=""):
        """A mask as an array; raises `MalformedError` if it is none."""
        array = None if mask is None else _joined(mask)
        fits = array is not None and array.shape == (self._length,)
        if (
            not fits
            or array.dtype.kind not in "iub"
            or not np.isin(array, (0, 1)).all()
        ):
            raise MalformedError(
                f"Expected `{MASK}`{whose} as {self._length} zeros and ones: in "
                f"`info` of `reset` and of each `step`. Received: {mask!r:.200}"
            )
        if not np.logical_or.reduceat(array, self._starts).all():
            raise MalformedError(
                f"Expected a legal action in each state that does not terminate, as "
                f"`{MASK}`{whose}. Received: {array.tolist()}"
            )
        return array


def declares_mask(observation_space):
    """Whether an observation has an entry `action_mask` itself."""
    return (
        isinstance(observation_space, spaces.Dict) and MASK in observation_space.spaces
    )


def masks_for(observation_space, action_space, reset):
    """`Masks` if an environment has masks, else None.

    Args:
        observation_space: `gymnasium.Space` of one environment.
        action_space: `gymnasium.Space` of one environment.
        reset: Callable that resets it and returns what that returned. It is called
            where actions can be masked and the space does not tell. What it raises is
            left to the reset that follows.
    """
    if not isinstance(action_space, spaces.Discrete | spaces.MultiDiscrete):
        return None
    if not declares_mask(observation_space):
        try:
            info = reset()[1]
        except Exception:
            return None
        if not isinstance(info, dict) or MASK not in info:
            return None
    return Masks(observation_space, action_space)


def _joined(mask):
    """The masks of several components as one array."""
    if isinstance(mask, tuple | list) and len(mask) and np.ndim(mask[0]):
        return np.concatenate([np.ravel(as_array(part)) for part in mask])
    return as_array(mask)
