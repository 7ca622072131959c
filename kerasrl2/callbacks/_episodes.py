"""Episodes as sequences of pictures."""

import numpy as np
import tensorflow as tf

from kerasrl2.envs._masks import with_masks
from kerasrl2.envs._spaces import codec
from kerasrl2.envs.core import TensorFlowEnvironment
from kerasrl2.envs.drawn import rendered


class Episodes:
    """Greedy episodes, played one step for each picture that is taken.

    Args:
        agent: `Agent`, or anything with its `act`.
        env: What `envs.drawn.make_drawn` returned.
        max_steps: Integer, the length at which an episode is cut.
        seed: Integer, of the first episode; the others have the numbers after it.

    Attributes:
        returns: List of floats, of the episodes so far.
    """

    def __init__(self, agent, env, max_steps, seed):
        self.returns = []
        self._agent, self._max_steps, self._seed = agent, max_steps, seed
        in_graph = isinstance(env, TensorFlowEnvironment)
        self._world = _InTensorFlow(env) if in_graph else _OfGymnasium(env)

    def pictures(self, episodes):
        """Yields `[height, width, 3]` uint8 of each first state and after each step."""
        for number in range(episodes):
            self.returns.append(0.0)
            observation = self._world.reset(self._seed + number)
            memory = self._first_memory(len(tf.nest.flatten(observation)[0]))
            yield self._world.picture()
            for _ in range(self._max_steps):
                action, memory = self._act(observation, memory)
                observation, reward, ended = self._world.step(action)
                self.returns[-1] += reward
                yield self._world.picture()
                if ended:
                    break

    def _first_memory(self, rows):
        """The state of a policy that remembers, else None."""
        first = getattr(self._agent, "initial_state", lambda rows: ())(rows)
        return first if tf.nest.flatten(first) else None

    def _act(self, observation, memory):
        if memory is None:
            return self._agent.act(observation), None
        return self._agent.act(observation, policy_state=memory)


class _OfGymnasium:
    """A `gymnasium.Env` as a batch of one."""

    def __init__(self, env):
        self._env = env = with_masks(env)
        self._observation = codec(env.observation_space, "observation")
        self._action = codec(env.action_space, "action")

    def reset(self, seed):
        return self._batch(self._env.reset(seed=seed)[0])

    def step(self, action):
        observation, reward, terminated, truncated, _ = self._env.step(
            self._action.take(action)[0]
        )
        return self._batch(observation), float(reward), terminated or truncated

    def picture(self):
        return rendered(self._env)

    def _batch(self, observation):
        batch = self._observation.empty(1)
        self._observation.put(batch, 0, observation)
        return batch


class _InTensorFlow:
    """The first copy of a `TensorFlowEnvironment`, to its last state.

    `Environment.step` starts the next episode within the same step, so that the state
    in which one ends is never seen: the parts of the step are taken one by one.
    """

    def __init__(self, env):
        self._env, self._physics, self._steps = env, None, 0
        self._step = tf.function(self._one_step, autograph=False)

    def reset(self, seed):
        self._chance = tf.constant([seed % 2**31, seed // 2**31], tf.int32)
        self._physics = self._env.initial(self._chance, self._env.num_envs)
        self._steps = 0
        return _arrays(self._env.observe(self._physics))

    def step(self, action):
        self._steps += 1
        self._physics, observation, reward, ended = self._step(
            self._physics,
            tf.convert_to_tensor(action),
            self._chance,
            tf.constant(self._steps),
        )
        limit = self._env.max_episode_steps
        ended = bool(ended[0]) or (limit is not None and self._steps >= limit)
        return _arrays(observation), float(reward[0]), ended

    def picture(self):
        first = tf.nest.map_structure(lambda tensor: tensor[:1], self._physics)
        return np.asarray(self._env.picture(first))

    def _one_step(self, physics, action, seed, number):
        seed = tf.random.fold_in(seed, number, alg="philox")
        physics, action = self._env.apply_chance(physics, action, seed)
        physics, reward, terminated = self._env.transition(physics, action)
        return physics, self._env.observe(physics), reward, terminated


def _arrays(observation):
    """NumPy arrays of a nest of tensors."""
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), observation)
