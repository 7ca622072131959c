"""Agents for spaces of every kind: what they know of them, act on and learn."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.agents import A2C, DQN, PPO, ObservationSpec
from kerasrl2.agents.specs import check_spaces
from kerasrl2.envs import TensorFlowEnvironment
from tests.training.worlds import Scripted


class Draws(gymnasium.Env):
    """Observations drawn from the space; three steps an episode."""

    action_space = spaces.Discrete(2)

    def __init__(self, space):
        self.observation_space = space
        space.seed(0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.time += 1
        return self.observation_space.sample(), 1.0, self.time == 3, False, {}


SPACES = {
    "one number": spaces.Box(-1.0, 1.0),
    "one integer": spaces.Box(0, 9, dtype=np.int64),
    "start": spaces.Discrete(4, start=3),
    "float64": spaces.Box(-1.0, 1.0, (2,), np.float64),
    "float16": spaces.Box(-1.0, 1.0, (2,), np.float16),
    "int64": spaces.Box(np.array([0, -50]), np.array([7, 100]), dtype=np.int64),
    "bool": spaces.Box(0, 1, (3,), bool),
    "first": spaces.Box(0, 255, (3, 6, 5), np.uint8),
    "unit": spaces.Box(0.0, 1.0, (6, 6, 3)),
}


@pytest.mark.parametrize(("agent_class", "normalize"), [(A2C, True), (DQN, False)])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_agents_are_made_act_and_learn(eager, agent_class, normalize, space):
    few = {"rollout_length": 2, "num_envs": 2}
    if agent_class is DQN:
        few = {"learning_starts": 2, "batch_size": 2, "buffer_size": 8}
    agent = agent_class.for_env(
        Draws(space), hidden=(4,), seed=0, normalize_observations=normalize, **few
    )
    assert agent.observation_spec == ObservationSpec.of_space(space)
    batch = np.array([space.sample() for _ in range(3)])
    assert agent.predict(batch).shape == (3,)
    assert agent.act(batch[0]).shape == ()
    agent.fit(lambda: Draws(space), steps=4, epochs=1, verbose=0)
    counted = 0.0 if agent.observation_normalizer is None else 1.0
    assert counted == float(normalize and space.dtype not in (np.uint8, bool)
                            and not isinstance(space, spaces.Discrete))  # fmt: skip
    if counted:
        assert float(agent.observation_normalizer.count) >= 4.0
        known = tf.constant(batch.astype(agent.observation_spec.dtype))
        spread = agent.normalized(known)
        assert spread.dtype == tf.float32


def test_normalised_pictures_are_not_scaled_once_more():
    space = spaces.Box(0.0, 255.0, (6, 6, 3))
    layers = {
        type(layer).__name__
        for layer in PPO.for_env(Draws(space), normalize_observations=True)
        .network.get_layer("policy_encoder_cnn").layers
    }  # fmt: skip
    assert "Conv2D" in layers
    assert "PixelConv2D" not in layers


@pytest.mark.parametrize("agent_class", [PPO, DQN])
def test_act_and_predict_refuse_what_training_refuses(agent_class):
    numbered = agent_class.for_env(Draws(spaces.Discrete(16)), hidden=())
    for wrong in (99, -1, 2.7, np.nan, [1, 16]):
        for call in (numbered.act, numbered.predict):
            with pytest.raises(ValueError, match="Expected observations"):
                call(wrong)
        with pytest.raises(ValueError, match="Expected observations"):
            numbered.act(wrong, training=True)
    assert numbered.act(15).shape == ()
    pictures = spaces.Box(0, 255, (6, 6, 3), np.uint8)
    seeing = agent_class.for_env(Draws(pictures), hidden=())
    picture = pictures.sample()
    for wrong in (0.99 * picture, picture / 255.0, picture.astype(int) + 256):
        with pytest.raises(ValueError, match="Expected observations"):
            seeing.act(wrong)
    with pytest.raises(ValueError, match="with nan"):
        agent_class.for_env("CartPole-v1", hidden=()).act([np.nan, 0.0, 0.0, 0.0])


def test_what_act_checks_follows_the_spec():
    agent = DQN.for_env(Draws(spaces.Discrete(3)), hidden=())
    assert agent.act(2).shape == ()
    agent.observation_spec = ObservationSpec((), "int32", 3, start=-1)
    with pytest.raises(ValueError, match="from -1 to 1"):
        agent.act(2)


@pytest.mark.parametrize(
    ("known", "received"),
    [
        (spaces.Discrete(4, start=3), spaces.Discrete(4)),
        (
            spaces.Box(0, 255, (6, 6, 3), np.uint8),
            spaces.Box(0, 1, (6, 6, 3), np.uint8),
        ),
        (spaces.Box(0.0, 1.0, (6, 6, 3)), spaces.Box(0.0, 255.0, (6, 6, 3))),
    ],
    ids=str,
)
def test_another_scale_is_another_environment(known, received):
    agent = DQN.for_env(Draws(known), hidden=())
    made = Scripted([3])
    made.observation_space = known
    check_spaces(made, agent.observation_spec, agent.head)
    made.observation_space = received
    with pytest.raises(ValueError, match=r"observations this agent was made for: .* f"):
        check_spaces(made, agent.observation_spec, agent.head)


def test_of_a_network_of_ones_own_no_bounds_are_known():
    image = keras.Input([6, 6, 3], dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1.0)(image))
    agent = DQN(keras.Model(image, keras.layers.Dense(2)(x)))
    made = Scripted([3])
    for high in (1, 255):
        made.observation_space = spaces.Box(0, high, (6, 6, 3), np.uint8)
        check_spaces(made, agent.observation_spec, agent.head)


class Sides(TensorFlowEnvironment):
    """A picture whose brighter half says which action pays 1; 20 steps an episode."""

    def __init__(self, shape, high, dtype, num_envs=8):
        self.picture, self.high = shape, high
        box = spaces.Box(0, high, shape, dtype)
        super().__init__("Sides", num_envs, box, spaces.Discrete(2), 20)

    def initial(self, seed, n):
        side = tf.random.stateless_uniform([n], seed, 0, 2, tf.int32)
        noise = tf.random.stateless_uniform([n, *self.picture], seed)
        return side, noise

    def apply_chance(self, physics, action, seed):
        return (physics[0], self.initial(seed, self.num_envs)), action

    def transition(self, physics, action):
        side, following = physics
        reward = tf.cast(tf.equal(side, action), tf.float32)
        return following, reward, tf.zeros_like(action, tf.bool)

    def observe(self, physics):
        side, noise = physics
        axis = 2 if self.picture[0] < self.picture[1] else 1  # height comes first
        rows = self.picture[axis - 1]
        half = tf.cast(tf.range(rows) >= rows // 2, tf.int32)
        half = tf.reshape(half, [1, *(rows if i == axis else 1 for i in (1, 2, 3))])
        bright = tf.equal(half, tf.reshape(side, [-1, 1, 1, 1]))
        value = self.high * tf.where(bright, 0.5 + 0.5 * noise, 0.5 * noise)
        if self.observation_space.dtype == np.uint8:
            return tf.cast(tf.round(value), tf.uint8)
        return value


@pytest.mark.long
@pytest.mark.parametrize(
    ("agent_class", "shape", "high", "dtype"),
    [
        (PPO, (36, 36, 1), 1.0, np.float32),
        (DQN, (36, 36, 1), 1.0, np.float32),
        (DQN, (36, 36, 1), 1, np.uint8),
        (PPO, (32, 32, 3), 255, np.uint8),
        (DQN, (2, 36, 36), 255, np.uint8),
        (DQN, (7, 7, 3), 255, np.uint8),
    ],
    ids=str,
)
def test_what_pictures_show_is_learned(agent_class, shape, high, dtype):
    settings = {"hidden": (64,), "seed": 0, "learning_rate": 1e-3}
    if agent_class is DQN:
        settings |= {"learning_starts": 200, "gamma": 0.0, "epsilon_steps": 1000}
        settings |= {"buffer_size": 4000, "num_envs": 8}
    else:
        settings |= {"rollout_length": 32, "batch_size": 64, "gamma": 0.0}
        settings |= {"activation": "relu"}
    agent = agent_class.for_env(Sides(shape, high, dtype), **settings)
    agent.fit(Sides(shape, high, dtype), steps=4096, epochs=1, verbose=0)
    result = agent.evaluate(Sides(shape, high, dtype), episodes=8)
    assert result["return"] >= 19.5
