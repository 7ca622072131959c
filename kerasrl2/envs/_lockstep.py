"""Steps Gymnasium environments one after another, with same-step autoreset."""

import numpy as np

from kerasrl2.envs._leaves import MalformedError
from kerasrl2.envs._world import (
    RESET_RESULT,
    STEP_RESULT,
    World,
    as_flag,
    as_number,
    not_a_tuple,
    time_limit,
)


class Lockstep(World):
    """`N` environments, each a `gymnasium.Env`.

    Args:
        id: String, for messages.
        envs: Sequence of `gymnasium.Env` with equal spaces.
    """

    def __init__(self, id, envs):
        space, actions = envs[0].observation_space, envs[0].action_space
        first = envs[0]
        super().__init__(
            id, envs, len(envs), space, actions, lambda: self._try_reset(first)
        )

    @property
    def max_episode_steps(self):
        """Integer, the time limit of the first one in steps, or None."""
        return time_limit(self.envs[0])

    def reset(self, seed):
        """Seeds and resets all environments.

        Each environment and each action space gets its own seed. Later resets continue
        the environment's own random stream. Arguments and results as of `World`.
        """
        self._begin()
        words = [int(word) % 2**32 for word in seed]
        first, first_action = np.random.SeedSequence(words).generate_state(2).tolist()
        observation = self.observation.empty(self.num_envs)
        index = 0
        try:
            for index, env in enumerate(self.envs):
                seed, action_seed = first + index, first_action + index
                self._begin_reset(env, seed % 2**31, action_seed % 2**31)
            for index in range(self.num_envs):
                self._put_reset(observation, index, (first + index) % 2**31)
        except Exception as error:
            raise self._failure(error, "reset", index) from error
        return np.int32(self._done()), *self.observation.leaves(observation)

    def step(self, token, action):
        """Steps all environments; those whose episode ends are reset at once.

        Arguments and results as of `World`.
        """
        self._begin_step(token)
        actions, put = self.action.take(action), self.observation.put
        observations = self.observation.empty(2, self.num_envs)
        current, following = self.observation.halves(observations)
        outcome = np.zeros((3, self.num_envs), np.float32)
        reward, terminated, truncated = outcome
        method, index, ended = "step", 0, []
        try:
            self._begin_steps(actions)
            for index, env in enumerate(self.envs):
                result = env.step(actions[index])
                if not isinstance(result, tuple) or len(result) != 5:
                    raise MalformedError(not_a_tuple(result, STEP_RESULT))
                value, gain, end, cut, info = result
                if self.masks is not None:
                    value = self.masks.observed(value, info, as_flag(end))
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
        self._done()
        return *leaves, outcome

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

    def _try_reset(self, env):
        """Result of a `reset` before any other, to look for action masks."""
        return env.reset(seed=0)

    def _begin_reset(self, env, seed, action_seed):
        """Seeds the action space; a subclass with processes also starts the reset."""
        env.action_space.seed(action_seed)

    def _begin_steps(self, actions):
        """Does nothing; a subclass with processes starts all steps."""

    def _put_reset(self, observation, index, seed=None):
        result = self.envs[index].reset(seed=seed)
        if not isinstance(result, tuple) or len(result) != 2:
            raise MalformedError(not_a_tuple(result, RESET_RESULT))
        value, info = result
        if self.masks is not None:
            value = self.masks.observed(value, info)
        self.observation.put(observation, index, value)
