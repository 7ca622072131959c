"""Policies, and a world, that are simple enough to be recounted by hand."""

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.envs import Environment
from kerasrl2.training.collect import begin_episodes
from kerasrl2.types import PolicyOutputs, TimeStep


def chance(shape, seed):
    """Random numbers from -1 to 1, the same whatever runs it: XLA has other floats."""
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg="philox")
    return tf.cast(bits, tf.float32) / 2.0**31


class TenfoldHead:
    """Two actions; the environment is given ten times their number."""

    num_parameters, action_shape, action_dtype = 2, (), tf.int32

    def to_env(self, action):
        return 10 * action


class Player:
    """Scores observations by fixed weights and random numbers of the pass's seed."""

    head = TenfoldHead()

    def initial_state(self, num_envs):
        return ()

    def forward(self, observation, policy_state=(), training=False, seed=None):
        weights = tf.reshape(tf.range(2.0 * observation.shape[1]), [-1, 2]) - 2.0
        parameters = observation @ weights
        if seed is not None:
            parameters += chance(parameters.shape, seed)
        value = tf.reduce_sum(observation, axis=1) + parameters[:, 0]
        return PolicyOutputs(parameters, value, policy_state)

    def choose(self, outputs, seed, env_steps):
        other = chance(outputs.value.shape, seed) < 0.0
        odd = tf.cast(env_steps % 2, tf.int32)
        return (self.greedy(outputs) + tf.cast(other, tf.int32) + odd) % 2

    def greedy(self, outputs):
        return tf.argmax(outputs.parameters, axis=1, output_type=tf.int32)


class Summing(Player):
    """Remembers the sum of what it saw first, and says so."""

    def initial_state(self, num_envs):
        return tf.zeros([num_envs])

    def forward(self, observation, policy_state=(), training=False, seed=None):
        h = policy_state + observation[:, 0]
        return PolicyOutputs(tf.stack([h, -h], axis=1), h, h)


class Gated(Player):
    """A gated recurrent unit in small; begins with a half in a dictionary."""

    def __init__(self):
        rng = np.random.default_rng(0)
        shapes = {"gate": [5, 2], "new": [5, 2], "out": [2, 3]}
        self.weights = {
            name: tf.Variable(rng.normal(size=shape).astype("f4"))
            for name, shape in shapes.items()
        }

    def initial_state(self, num_envs):
        return {"h": tf.fill([num_envs, 2], 0.5)}

    def forward(self, observation, policy_state=(), training=False, seed=None):
        h, weights = policy_state["h"], self.weights
        seen = tf.concat([observation, h], axis=1)
        gate, new = tf.sigmoid(seen @ weights["gate"]), tf.tanh(seen @ weights["new"])
        h = (1.0 - gate) * h + gate * new
        outputs = h @ weights["out"]
        return PolicyOutputs(outputs[:, :2], outputs[:, 2], {"h": h})


class Table(Environment):
    """Observes 1, 2, 3, ... whatever happens, and the copy; its flags are given.

    Args:
        **flags: `[T, N]` arrays, `terminated`, `truncated` and `valid`.
    """

    in_graph = compilable = True
    always_valid = False

    def __init__(self, **flags):
        self.flags = {name: tf.constant(flag) for name, flag in flags.items()}
        num_envs = self.flags["valid"].shape[1]
        box = spaces.Box(-np.inf, np.inf, [2])
        super().__init__("Table", num_envs, box, spaces.Discrete(11))

    def reset(self, seed):
        return tf.constant(0), self._observe(0)

    def step(self, state, action, seed):
        flags = {name: flag[state] for name, flag in self.flags.items()}
        noise = chance([self.num_envs], seed)
        after = self._observe(state + 1)
        step = TimeStep(
            after, after + 0.5, tf.cast(action, tf.float32) + noise, **flags
        )
        return state + 1, step

    def _observe(self, clock):
        seen = tf.fill([self.num_envs], tf.cast(clock + 1, tf.float32))
        return tf.stack([seen, tf.range(float(self.num_envs))], axis=1)


def table(num_steps=5, at=(1, 3)):
    """Four copies: `at` they terminate, are cut, are no transition, and nothing."""
    flags = {"terminated": 0, "truncated": 1, "valid": 2}
    arrays = {name: np.zeros([num_steps, 4], bool) for name in flags}
    for name, copy in flags.items():
        arrays[name][list(at), copy] = True
    return Table(**arrays | {"valid": ~arrays["valid"]})


def begun(player, env):
    return begin_episodes(player, env, tf.constant([0, 1]))
