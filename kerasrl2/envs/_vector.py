"""Steps what is a batch of environments already: a `VectorEnv` of Gymnasium."""

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from kerasrl2.envs._interface import check_has_space
from kerasrl2.envs._leaves import MalformedError, as_array
from kerasrl2.envs._spaces import entry_at, leaf_spaces
from kerasrl2.envs._world import (
    RESET_RESULT,
    STEP_RESULT,
    World,
    not_a_tuple,
    time_limit,
)

_NEXT, _SAME, _DISABLED = (
    AutoresetMode.NEXT_STEP,
    AutoresetMode.SAME_STEP,
    AutoresetMode.DISABLED,
)

_FOREVER = 2**31 - 1  # EnvPool's time limit where there is none


class VectorWorld(World):
    """The environments of one `gymnasium.vector.VectorEnv`, or of EnvPool.

    Its `metadata["autoreset_mode"]` says where episodes begin: in the step that ends
    the one before (`SAME_STEP`), by a reset of the ended ones, made here (`DISABLED`),
    or in the step after it (`NEXT_STEP`). The row of that step, whose action is not
    played, is no transition: `valid` is False, reward and flags are 0.

    Args:
        vector: The vector environment.
    """

    def __init__(self, vector):
        self._vector, self._mode = vector, autoreset_mode(vector)
        self._base = vector.unwrapped
        self._is_pool = is_pool(self._base)
        _check_batch(vector)
        single = [
            _single_space(vector, f"single_{role}_space")
            for role in ("observation", "action")
        ]
        num_envs = int(vector.num_envs)
        super().__init__(
            _name(vector), (vector,), num_envs, *single, lambda: self._reset(0)
        )
        _check_homogeneous(vector, single[0], self.num_envs)
        self.always_valid = self._mode is not _NEXT
        self._over = np.zeros(self.num_envs, bool)  # in the step before

    @property
    def max_episode_steps(self):
        """Integer, the time limit in steps, or None if there or known is none."""
        if (first := _first_of(self._base)) is not None:
            return time_limit(first)
        limit = self._base.config["max_episode_steps"] if self._is_pool else None
        for owner in (self._vector.spec, self._base):
            limit = limit or getattr(owner, "max_episode_steps", None)
        known = isinstance(limit, int) and limit < _FOREVER
        return limit if known else None

    def reset(self, seed):
        """Seeds and resets all environments; arguments and results as of `World`.

        EnvPool takes seeds when it is made only: there episodes begin anew, and the
        random streams go on.
        """
        self._begin()
        words = [int(word) % 2**32 for word in seed]
        first, first_action = np.random.SeedSequence(words).generate_state(2).tolist()
        observation = self.observation.empty(self.num_envs)
        try:
            for space in (self._vector.action_space, self._vector.single_action_space):
                space.seed(first_action % 2**31)
            result = self._reset(first % (2**31 - self.num_envs))  # then one each
            all_act = np.ones(self.num_envs, bool)
            self._put_all(observation, *_checked(result, RESET_RESULT), all_act)
        except Exception as error:
            raise self._failure(error, "reset", None) from error
        self._over[:] = False
        return np.int32(self._done()), *self.observation.leaves(observation)

    def step(self, token, action):
        """Steps all environments; arguments and results as of `World`."""
        self._begin_step(token)
        actions = self.action.take(action)
        observations = self.observation.empty(2, self.num_envs)
        following = self.observation.halves(observations)[1]
        outcome = np.empty((3 if self.always_valid else 4, self.num_envs), np.float32)
        method, leaves = "step", self.observation.leaves(observations)
        try:
            result = self._vector.step(actions)
            value, reward, terminated, truncated, info = _checked(result, STEP_RESULT)
            outcome[0] = self._row(reward, "fiub", "reward")
            outcome[1] = terminated = self._row(terminated, "b", "terminated")
            outcome[2] = truncated = self._row(truncated, "b", "truncated")
            over = terminated | truncated
            # Those of ended episodes come later where a new one begins at once.
            acts = np.ones_like(over) if self._mode is _SAME else ~terminated
            self._put_all(following, value, info, acts)
            if self._mode is _NEXT:
                over &= ~self._over
                outcome[:3, self._over] = 0.0
                outcome[3] = ~self._over
                self._over = over
            for leaf in leaves:
                leaf[0] = leaf[1]
            if over.any():
                ended = np.flatnonzero(over).tolist()
                self._end_episodes(ended, info)
                if self._mode is _SAME:
                    self._put_final(following, ended, info, terminated)
                elif self._mode is _DISABLED:
                    method = "reset"
                    result = self._vector.reset(options={"reset_mask": over})
                    self._put_first(leaves, over, *_checked(result, RESET_RESULT))
        except Exception as error:
            raise self._failure(error, method, None, action) from error
        self._done()
        return *leaves, outcome

    def close(self):
        """Closes the vector environment, once."""
        if not self.closed and not getattr(self._base, "closed", False):
            if isinstance(self._base, AsyncVectorEnv) and not self._valid:
                # After a failure its processes may not answer any more.
                for process in self._base.processes:
                    process.terminate()
                self._base.closed = True
            else:
                self._vector.close()
        self.closed = True

    def _check_open(self):
        super()._check_open()
        if getattr(self._base, "closed", False):
            raise RuntimeError(
                f"Environment {self.id} is closed: not here, but by other code that "
                "has the same vector environment. Make a new one."
            )

    def _row(self, values, kinds, name):
        """`values` as an array of one number for each environment."""
        values = as_array(values)
        if values.shape != (self.num_envs,) or values.dtype.kind not in kinds:
            kind = "Booleans" if kinds == "b" else "numbers"
            raise MalformedError(
                f"Expected {self.num_envs} {kind} as {name}. Received: shape "
                f"{values.shape}, dtype {values.dtype}"
            )
        return values

    def _reset(self, seed):
        """Result of the vector environment's `reset`."""
        return self._vector.reset(**({} if self._is_pool else {"seed": seed}))

    def _put_all(self, batch, observations, info, acts):
        """Writes the observations of all; `acts` `[N]`, where one has to act on it."""
        if self.masks is not None:
            observations = self.masks.observed_by_all(observations, info, acts)
        self.observation.put_all(batch, observations)

    def _put_final(self, following, ended, info, terminated):
        """Writes the last observations of episodes, which `info` holds."""
        final = info.get("final_obs") if isinstance(info, dict) else None
        if final is None:
            raise MalformedError(
                "Expected `final_obs` in `info` where an episode ends, as its autoreset"
                f" mode is {self._mode}. Received: {', '.join(info) or 'nothing'}"
            )
        infos = info.get("final_info", {})
        for index in ended:
            value = _entry(final, index)
            if self.masks is not None:
                last = _info_of(infos, index)
                value = self.masks.observed(value, last, bool(terminated[index]))
            self.observation.put(following, index, value)

    def _put_first(self, leaves, over, observations, info):
        """Writes the first observations of the episodes that a reset began."""
        fresh = self.observation.empty(self.num_envs)
        self._put_all(fresh, observations, info, over)
        for leaf, new in zip(leaves, self.observation.leaves(fresh), strict=True):
            leaf[0][over] = new[over]

    def _end_episodes(self, ended, info):
        if not self.info_keys:
            self._episodes[ended] += 1
        elif isinstance(info, dict):
            info = info.get("final_info", info) if self._mode is _SAME else info
            for index in ended:
                self._end_episode(index, _info_of(info, index))
        else:
            for index in ended:
                self._end_episode(index, info)


def is_pool(vector):
    """Whether an object is one of EnvPool's."""
    return all(
        callable(getattr(vector, name, None)) for name in ("async_reset", "recv")
    )


def autoreset_mode(vector):
    """The `AutoresetMode` that a vector environment declares."""
    metadata = getattr(vector, "metadata", None) or {}
    mode = metadata.get("autoreset_mode")
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise ValueError(
            "Expected a vector environment that declares where its episodes begin. "
            f'Received: {type(vector.unwrapped).__name__} with metadata["autoreset_mode'
            f'"]={mode!r}. Look up what it does after an episode has ended, and set '
            "`env.metadata = {**env.metadata, 'autoreset_mode': mode}`, one of "
            "`gymnasium.vector.AutoresetMode`: NEXT_STEP (a step later, the action is "
            "ignored), SAME_STEP (at once, `info['final_obs']` holds the last "
            "observation) or DISABLED (by `reset(options={'reset_mask': mask})`)."
        ) from None


def _check_batch(vector):
    """Raises where a step does not move all environments."""
    config = getattr(vector.unwrapped, "config", None)
    config = config if isinstance(config, dict) else {}
    size = config.get("batch_size", getattr(vector.unwrapped, "batch_size", None))
    if size not in (None, vector.num_envs):
        raise ValueError(
            f"Expected a vector environment that steps all {vector.num_envs} "
            f"environments at a time. Received: batch_size={size}. Leave it out."
        )
    if config.get("max_num_players", 1) != 1:
        raise ValueError(
            "Expected environments of one player each. Received: max_num_players="
            f"{config['max_num_players']}. Agents play alone."
        )


def _single_space(vector, name):
    check_has_space(vector, name)
    return getattr(vector, name)


def _check_homogeneous(vector, single, num_envs):
    """Raises where environments have observation spaces of their own."""
    batch = vector.observation_space
    if batch == single:  # EnvPool declares that of one
        return
    for keys, leaf in leaf_spaces(single):
        whole = entry_at(batch, keys)
        if isinstance(leaf, spaces.Discrete):
            bounds = [getattr(whole, "nvec", np.zeros(1)), getattr(whole, "start", 0)]
        else:
            bounds = [getattr(whole, "low", 0), getattr(whole, "high", 0)]
        for bound in bounds:
            rows = np.asarray(bound)
            if rows.ndim and len(rows) == num_envs and (rows != rows[0]).any():
                raise ValueError(
                    "Expected a vector environment of equal observation spaces. "
                    f"Received: {batch}, whose rows differ. A wrapper can give all "
                    "environments one space: gymnasium.wrappers.TransformObservation."
                )


def _name(vector):
    for owner in (vector, _first_of(vector.unwrapped)):
        id = getattr(getattr(owner, "spec", None), "id", None)
        if isinstance(id, str):
            return id
    return type(vector.unwrapped).__name__


def _first_of(vector):
    """The first environment of a `SyncVectorEnv`, else None."""
    return vector.envs[0] if isinstance(vector, SyncVectorEnv) else None


def _checked(result, names):
    if not isinstance(result, tuple) or len(result) != len(names):
        raise MalformedError(not_a_tuple(result, names))
    return result


def _entry(nest, index):
    """Row `index` of an array, or of the arrays of a dictionary or tuple."""
    if isinstance(nest, dict):
        return {name: _entry(part, index) for name, part in nest.items()}
    if isinstance(nest, tuple):
        return tuple(_entry(part, index) for part in nest)
    return nest[index]


def _info_of(info, index):
    """The `info` of one environment, of those that tell whether they have each key."""
    kept = {}
    for key, values in info.items():
        if isinstance(key, str) and not isinstance(values, dict):
            present = info.get(f"_{key}")
            if present is None or present[index]:
                kept[key] = values[index]
    return kept
