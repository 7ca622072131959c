"""Steps Gymnasium environments one after another, with same-step autoreset."""

import numpy as np

from kerasrl2._checks import did_you_mean
from kerasrl2.envs._check_report import described
from kerasrl2.envs._leaves import MalformedError
from kerasrl2.envs._moves import Moves
from kerasrl2.envs._spaces import codec
from kerasrl2.errors import EnvironmentFailure


class Lockstep:
    """`N` environments as one, on NumPy arrays.

    The environments hold their own state, so only the latest state exists. `reset`
    returns a token; each `step` expects the token plus the number of steps since then.
    Another value means that other code reset or stepped the environments in between.
    So does the count of their moves, for code that reaches them in another way.

    Args:
        id: String, for messages.
        envs: Sequence of `gymnasium.Env` with equal spaces.

    Attributes:
        moves: `Moves` of the environments.
        info_keys: Tuple of strings, what is kept of `info` when an episode ends.
    """

    def __init__(self, id, envs):
        self.id, self.envs = id, tuple(envs)
        self.observation = codec(self.envs[0].observation_space, "observation")
        self.action = codec(self.envs[0].action_space, "action")
        self.closed = False
        self._token, self._valid = 0, False
        self._steps = 0  # of each environment, since `reset`
        self.moves = Moves(self.envs)
        self.info_keys, self._finished = (), []
        self._episodes = [0] * len(self.envs)  # ended since `reset`

    def reset(self, seed):
        """Seeds and resets all environments.

        Each environment and each action space gets its own seed. Later resets continue
        the environment's own random stream.

        Args:
            seed: `[2]` int32.

        Returns:
            `(token, *observation)`: `[]` int32 and `[N, ...]`; of an observation that
            is a nest all arrays, in the order of `tf.nest.flatten`.
        """
        self._check_open()
        self._steps, self._valid = 0, False
        self._episodes = [0] * len(self.envs)
        words = [int(word) % 2**32 for word in seed]
        first, first_action = np.random.SeedSequence(words).generate_state(2).tolist()
        observation = self.observation.empty(len(self.envs))
        index = 0
        try:
            for index, env in enumerate(self.envs):
                seed, action_seed = first + index, first_action + index
                self._begin_reset(env, seed % 2**31, action_seed % 2**31)
            for index in range(len(self.envs)):
                self._put_reset(observation, index, (first + index) % 2**31)
        except Exception as error:
            raise self._failure(error, "reset", index) from error
        self.moves.take_note()
        self._token, self._valid = (self._token + 1) % 2**31, True
        return np.int32(self._token), *self.observation.leaves(observation)

    def step(self, token, action):
        """Steps all environments; those whose episode ends are reset at once.

        Args:
            token: `[]` int32, from the latest `reset`, plus 1 for each step since.
            action: `[N]` integer or `[N, ...]` float.

        Returns:
            `(*observations, outcome)`, new arrays that later steps do not change; few,
            since each takes 8 us to enter a graph. `observations` are `[2, N, ...]`,
            what to act on next and the true successors, an array for each one in an
            observation; `outcome` is `[3, N]` float32: reward, terminated, truncated.
        """
        self._check_open()
        self._check_token(token)
        n, actions, put = len(self.envs), self.action.take(action), self.observation.put
        observations = self.observation.empty(2, n)
        current, following = self.observation.halves(observations)
        reward, terminated, truncated = outcome = np.zeros((3, n), np.float32)
        self._steps, self._valid = self._steps + 1, False
        method, index, ended = "step", 0, []
        try:
            self._begin_steps(actions)
            for index, env in enumerate(self.envs):
                result = env.step(actions[index])
                if not isinstance(result, tuple) or len(result) != 5:
                    raise MalformedError(not_a_tuple(result, STEP_RESULT))
                value, gain, end, cut, info = result
                put(following, index, value)
                reward[index] = gain if type(gain) is float else as_number(gain)
                if end is False and cut is False:  # the usual case, without `as_flag`
                    continue
                end, cut = as_flag(end), as_flag(cut)
                terminated[index], truncated[index] = end, cut
                if end or cut:
                    self._end_episode(index, info)
                    method = "reset"
                    self._put_reset(current, index)
                    method = "step"
                    ended.append(index)
        except Exception as error:
            raise self._failure(error, method, index, action[index]) from error
        leaves = self.observation.leaves(observations)
        for current, following in leaves:
            first = current[ended] if ended else None
            current[:] = following
            if ended:
                current[ended] = first
        self.moves.take_note()
        self._token, self._valid = self._token + 1, True
        return *leaves, outcome

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
        """Closes all environments, once; the first exception is raised at the end."""
        errors = []
        for env in () if self.closed else self.envs:
            try:
                env.close()
            except Exception as error:
                errors.append(error)
        self.closed = True
        if errors:
            raise errors[0]

    def _begin_reset(self, env, seed, action_seed):
        """Seeds the action space; a subclass with processes also starts the reset."""
        env.action_space.seed(action_seed)

    def _begin_steps(self, actions):
        """Does nothing; a subclass with processes starts all steps."""

    def _put_reset(self, observation, index, seed=None):
        result = self.envs[index].reset(seed=seed)
        if not isinstance(result, tuple) or len(result) != 2:
            raise MalformedError(not_a_tuple(result, RESET_RESULT))
        self.observation.put(observation, index, result[0])

    def _end_episode(self, index, info):
        number = self._episodes[index]
        self._episodes[index] += 1
        if self.info_keys:
            values = [info_value(info, key) for key in self.info_keys]
            self._finished.append((index, number, values))

    def _check_open(self):
        if self.closed:
            raise RuntimeError(f"Environment {self.id} is closed. Make a new one.")

    def _check_token(self, token):
        moved = (int(token) - self._token) % 2**32  # tokens overflow
        if not self._valid or moved or self.moves.by_others():
            raise RuntimeError(
                f"Expected the state that the latest `reset` or `step` of {self.id} "
                "returned. Received an older one: the environment failed, or other "
                "code has reset or stepped it. Call `reset`, and give training and "
                "evaluation an environment each."
            )

    def _failure(self, error, method, index, action=None):
        action = None if method == "reset" else action
        given = "" if action is None else f", given action {np.asarray(action)}"
        return EnvironmentFailure(
            f"`{method}` of {self.id} (environment {index} of {len(self.envs)} from 0, "
            f"step {self._steps}{given}) {self._what(error)}{_hint(method, error)}",
            index=index,
            step=self._steps,
            action=action,
        )

    def _what(self, error):
        """The second half of a message: what went wrong; the first half says where."""
        if isinstance(error, MalformedError):
            return f"returned what it must not: {error}"
        return f"raised {described(error)}"


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
