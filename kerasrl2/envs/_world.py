"""What all copies of environments in Python have in common."""

import numpy as np

from kerasrl2._checks import did_you_mean
from kerasrl2.envs._check_report import described
from kerasrl2.envs._leaves import MalformedError
from kerasrl2.envs._masks import masks_for
from kerasrl2.envs._moves import Moves
from kerasrl2.envs._spaces import codec
from kerasrl2.errors import EnvironmentFailure


class World:
    """`N` copies of an environment as one, on NumPy arrays: base class.

    The environments hold their own state, so only the latest state exists. `reset`
    returns a token; each `step` expects the token plus the number of steps since then.
    Another value means that other code reset or stepped the environments in between.
    So does the count of their moves, for code that reaches them in another way.

    Args:
        id: String, for messages.
        envs: Tuple of what is stepped: for inspection, and whose moves are counted.
        num_envs: Integer, `N`.
        observation_space: `gymnasium.Space` of one copy.
        action_space: `gymnasium.Space` of one copy.
        reset: Callable without arguments that resets what is stepped, or one of it, and
            returns what that returned, to look for action masks; None if there are
            none.

    Attributes:
        masks: `Masks`, or None if no action is ever illegal.
        observation: Codec of observations.
        action: Codec of actions.
        always_valid: Boolean, whether all rows of all steps are transitions.
        moves: `Moves` of the environments.
        info_keys: Tuple of strings, what is kept of `info` when an episode ends.
    """

    always_valid = True

    def __init__(self, id, envs, num_envs, observation_space, action_space, reset=None):
        self.id, self.envs, self.num_envs = id, tuple(envs), num_envs
        self.observation_space, self.action_space = observation_space, action_space
        self.masks = None
        if reset is not None:
            self.masks = masks_for(observation_space, action_space, reset)
        if self.masks is not None:
            self.observation_space = self.masks.observation_space
        self.observation = codec(self.observation_space, "observation")
        self.action = codec(action_space, "action")
        self.closed = False
        self._token, self._valid = 0, False
        self._steps = 0  # of each environment, since `reset`
        self.moves = Moves(self.envs)
        self.info_keys, self._finished = (), []
        self._episodes = np.zeros(num_envs, np.int64)  # ended since `reset`

    def reset(self, seed):
        """Seeds and resets all environments.

        Args:
            seed: `[2]` int32.

        Returns:
            `(token, *observation)`: `[]` int32 and `[N, ...]`; of an observation that
            is a nest all arrays, in the order of `tf.nest.flatten`.
        """
        raise NotImplementedError

    def goal_judge(self):
        """What has `compute_reward(achieved, desired, info)`, or None."""
        found = getattr(self.envs[0], "unwrapped", None)
        return found if hasattr(found, "compute_reward") else None

    def step(self, token, action):
        """Steps all environments.

        Args:
            token: `[]` int32, from the latest `reset`, plus 1 for each step since.
            action: `[N]` integer or `[N, ...]` float.

        Returns:
            `(*observations, outcome)`, new arrays that later steps do not change; few,
            since each takes 8 us to enter a graph. `observations` are `[2, N, ...]`,
            what to act on next and the true successors, an array for each one in an
            observation; `outcome` is `[3, N]` float32: reward, terminated, truncated;
            unless `always_valid`, `[4, N]` with `valid`.
        """
        raise NotImplementedError

    def is_current(self, token):
        """Whether `step` can go on from `token`: nobody else has moved anything.

        True also after a failure, which `step` tells of.
        """
        moved = (int(token) - self._token) % 2**32 or self.moves.by_others()
        return not (self._valid and moved)

    def shares_copies_with(self, other):
        """Whether another world steps one of these environments, too."""
        return self is other or self.moves.has_one_of(other.moves)

    def record_info(self, keys):
        """Keeps these entries of `info` of episodes that end from now on."""
        self.info_keys, self._finished = tuple(keys), []

    def finished_info(self):
        """What was kept since the last call: `(environment, episode, values)` each.

        Episodes of an environment are counted from 0 since `reset`.
        """
        finished, self._finished = self._finished, []
        return finished

    def close(self):
        """Closes all environments, once."""
        raise NotImplementedError

    # For subclasses

    def _begin(self):
        """To call at the start of `reset`."""
        self._check_open()
        self._steps, self._valid = 0, False
        self._token %= 2**31 - 1  # the next one is an int32
        self._episodes[:] = 0

    def _begin_step(self, token):
        """To call at the start of `step`."""
        self._check_open()
        moved = (int(token) - self._token) % 2**32  # tokens overflow
        if not self._valid or moved or self.moves.by_others():
            raise RuntimeError(
                f"Expected the state that the latest `reset` or `step` of {self.id} "
                "returned. Received an older one: the environment failed, or other "
                "code has reset or stepped it. Call `reset`, and give training and "
                "evaluation an environment each."
            )
        self._steps, self._valid = self._steps + 1, False

    def _done(self):
        """To call at the end of both; returns the new token."""
        self.moves.take_note()
        self._token, self._valid = self._token + 1, True
        return self._token

    def _end_episode(self, index, info):
        number = int(self._episodes[index])
        self._episodes[index] += 1
        if self.info_keys:
            values = [info_value(info, key) for key in self.info_keys]
            self._finished.append((index, number, values))

    def _check_open(self):
        if self.closed:
            raise RuntimeError(f"Environment {self.id} is closed. Make a new one.")

    def _failure(self, error, method, index, action=None):
        """The exception that tells where and how a method failed.

        Args:
            error: Exception.
            method: String, `"reset"` or `"step"`.
            index: Integer, which environment, or None if that is not known.
            action: What was given to it, or None.
        """
        action = None if method == "reset" else action
        given = "" if action is None else f", given {_named(index, action)}"
        which = "" if index is None else f"environment {index} of "
        count = f"{self.num_envs} from 0" if which else f"{self.num_envs} environments"
        return EnvironmentFailure(
            f"`{method}` of {self.id} ({which}{count}, step {self._steps}{given}) "
            f"{self._what(error)}{_hint(method, error)}",
            index=index,
            step=self._steps,
            action=action,
        )

    def _what(self, error):
        """The second half of a message: what went wrong; the first half says where."""
        if isinstance(error, MalformedError):
            return f"returned what it must not: {error}"
        return f"raised {described(error)}"


def time_limit(env):
    """The steps after which a wrapper of a `gymnasium.Env` ends episodes, or None."""
    while env is not None:
        limit = getattr(env, "_max_episode_steps", None)
        if isinstance(limit, int):
            return limit
        env = vars(env).get("env")
    return None


def _named(index, action):
    text = np.array2string(np.asarray(action), threshold=16)
    return f"action {text}" if index is not None else f"actions {text}"


def _hint(method, error):
    """More about a `reset` that does not take what Gymnasium gives it."""
    text = str(error) if isinstance(error, TypeError) else ""
    if method == "reset" and "unexpected keyword argument" in text:
        return (
            ". Gymnasium calls `reset(seed=..., options=...)`; `reset()` is what gym "
            "had before version 0.26: take `*, seed=None, options=None`, begin with "
            "`super().reset(seed=seed)` and return `observation, {}`"
        )
    return ""


STEP_RESULT = ("observation", "reward", "terminated", "truncated", "info")
RESET_RESULT = ("observation", "info")


_OLD = {
    (STEP_RESULT, 4): (
        ". (observation, reward, done, info) is what gym returned before version "
        "0.26: split `done` into terminated and truncated"
    ),
    (RESET_RESULT, 0): (
        ". An observation alone is what gym returned before version 0.26: return "
        "`observation, {}`"
    ),
}


def not_a_tuple(result, names):
    """Message for a `result` that is not a tuple of as many values as `names`."""
    received, length = type(result).__name__, 0
    if isinstance(result, tuple):
        received, length = f"a tuple of {len(result)}", len(result)
    hint = _OLD.get((names, length), "")
    return f"Expected the tuple ({', '.join(names)}). Received: {received}{hint}"


def info_value(info, key):
    """`info[key]` at the end of an episode as a float."""
    if not isinstance(info, dict) or key not in info:
        known = sorted(map(str, info)) if isinstance(info, dict) else []
        raise MalformedError(
            f"Expected {key!r} (`info_keys`) in `info` at the end of an episode. "
            f"Received: {', '.join(known) or 'nothing'}{did_you_mean(key, known)}"
        )
    array = np.asarray(info[key])
    if array.size != 1 or array.dtype.kind not in "fiub":
        raise MalformedError(
            f"Expected a number as `info[{key!r}]` (`info_keys`). Received: "
            f"{info[key]!r:.100}"
        )
    return float(array.reshape(()))


def as_number(reward):
    """`reward` as a float; it may be any real number or an array of rank 0."""
    array = np.asarray(reward)
    if array.shape != () or array.dtype.kind not in "fiub":
        raise MalformedError(f"Expected a number as reward. Received: {reward!r}")
    return float(array)


def as_flag(value):
    """`terminated` or `truncated` as a Boolean."""
    array = np.asarray(value)
    if array.shape != () or array.dtype.kind != "b":
        raise MalformedError(
            f"Expected a Boolean as terminated and truncated. Received: {value!r}"
        )
    return bool(array)
