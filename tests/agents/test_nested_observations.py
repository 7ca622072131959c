"""Agents in environments whose observations are dictionaries and tuples."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.agents import A2C, DQN, PPO, ObservationSpec, Rainbow, load_agent
from kerasrl2.errors import NonFiniteError
from kerasrl2.layers import encoder_for
from tests.agents.nested_worlds import STEPS, Riddle

OBSERVATION = {"flags": np.int8([1, 0]), "place": (1, np.float32([1, 1]))}
BATCH = {
    "flags": np.int8([[1, 0], [0, 0], [1, 0]]),
    "place": (np.int32([1, 1, 2]), np.float32([[1, 1], [1, 1], [2, 2]])),
}
SOLVED = [1, 0, 0]  # the best actions for the batch
SETTINGS = {
    PPO: {"rollout_length": 32},
    A2C: {},
    DQN: {"learning_starts": 64, "epsilon_steps": 1000, "target_update_interval": 50},
    Rainbow: {"learning_starts": 64, "value_range": (0.0, 8.0), "buffer_size": 4096},
}


def made(kind=DQN, **more):
    settings = {"hidden": (16,), "num_envs": 8, "seed": 0, "xla": False}
    return kind.for_env(Riddle(8), **{**settings, **SETTINGS[kind], **more})


def test_an_untrained_agent_acts_on_one_and_on_many():
    agent = made(normalize_observations=True)
    many = agent.act(BATCH)
    assert many.shape == (3,)
    assert agent.act(OBSERVATION) == many[0]
    np.testing.assert_array_equal(agent.predict({**BATCH}), many)
    np.testing.assert_array_equal(agent.policy(BATCH)["action"], many)
    text = {**OBSERVATION, "mission": "find the place"}
    assert agent.act(text) == many[0]  # no agent reads


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ({"flags": [1, 0]}, r"entries \['flags', 'place'\].*entries \['flags'\]"),
        ([1, 2], r"dictionary with the entries .*Received: a list"),
        ({**OBSERVATION, "more": 1}, r"Received: entries \['flags', 'place', 'more'\]"),
        ({**OBSERVATION, "place": (1,)}, r"Entry 'place': .*a tuple of 2"),
        ({**OBSERVATION, "place": (3, [1, 1])}, r"'place': Entry 0: .*from 1 to 2"),
        ({**OBSERVATION, "flags": [0.5, 0]}, r"Entry 'flags': .*float"),
        ({**OBSERVATION, "place": (1, [np.nan, 0])}, r"'place': Entry 1: .*nan"),
        ({**OBSERVATION, "place": ([1, 2], [1, 1])}, r"one observation, or a batch"),
        ({**BATCH, "flags": [[1, 0]]}, r"as many rows in each entry"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_entry(observation, message):
    with pytest.raises(ValueError, match=message):
        made().act(observation)


@pytest.mark.long
@pytest.mark.parametrize("kind", [pytest.param(PPO, marks=pytest.mark.long), DQN])
@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.long)])
def test_learns_saves_loads_and_goes_on(kind, xla, tmp_path):
    agent = made(kind, xla=xla, normalize_observations=True, learning_rate=3e-3)
    steps = 8192 if kind is PPO else 2048
    agent.fit(Riddle(8), steps=steps, epochs=2, verbose=0)
    np.testing.assert_array_equal(agent.act(BATCH), SOLVED)
    assert agent.evaluate(Riddle(8), episodes=8)["return"] > 0.9 * STEPS
    agent.save(tmp_path / "agent.keras")
    loaded = load_agent(tmp_path / "agent.keras")
    assert loaded.observation_spec == agent.observation_spec
    np.testing.assert_array_equal(loaded.act(BATCH), SOLVED)
    normalizer = loaded.observation_normalizer.entry("place").entry(1)
    assert float(normalizer.count) >= steps
    loaded.fit(Riddle(8), steps=256, epochs=1, verbose=0)


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "steps", "settings"),
    [
        (A2C, 40_960, {"learning_rate": 3e-3, "entropy_coefficient": 0.02}),
        (Rainbow, 8192, {"learning_rate": 3e-3, "n_step": 1}),
    ],
)
def test_others_learn_too(kind, steps, settings):
    agent = made(kind, **settings)
    agent.fit(Riddle(8), steps=steps, epochs=2, verbose=0)
    assert agent.evaluate(Riddle(8), episodes=16)["return"] > 0.8 * STEPS


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [
        {"distribution": "categorical", "dueling": True, "noisy": True},
        {"distribution": "implicit_quantile"},
        {"munchausen": 0.9, "prioritized": True, "n_step": 3},
    ],
)
def test_every_kind_of_action_values_takes_nests(settings):
    agent = made(**settings)
    agent.fit(Riddle(8), steps=512, epochs=1, verbose=0)
    action = agent.act(BATCH)
    np.testing.assert_array_equal(agent.policy(BATCH)["action"], action)


@pytest.mark.long
def test_tuples():
    agent = PPO.for_env(Riddle(4, tuples=True), seed=0, xla=False, num_envs=4)
    agent.fit(Riddle(4, tuples=True), steps=1024, epochs=1, verbose=0)
    flags, (place, box) = BATCH["flags"], BATCH["place"]
    assert agent.act((flags, place, box)).shape == (3,)


def test_another_environment_is_refused():
    agent = made(PPO)
    with pytest.raises(ValueError, match=r"the observations this agent was made for"):
        agent.fit(Riddle(8, tuples=True), steps=256, verbose=0)


def network(names=("flags", "number", "box"), unused=None, as_dict=True):
    """A user's model with three inputs."""
    shapes = {"flags": [2], "number": [1], "box": [2]}
    inputs = {name: keras.Input(shapes[name], name=name) for name in names}
    used = [tensor for name, tensor in inputs.items() if name != unused]
    x = keras.layers.Dense(8, activation="tanh")(keras.layers.Concatenate()(used))
    taken = inputs if as_dict else list(inputs.values())
    return keras.Model(taken, keras.layers.Dense(2)(x))


SPACE = spaces.Dict(
    {
        "flags": spaces.MultiBinary(2),
        "number": spaces.Box(0, 9, [1]),
        "box": spaces.Box(0, 9, [2]),
    }
)


class Flat(Riddle):
    """The riddle as a dictionary of vectors."""

    def __init__(self, num_envs=1):
        super().__init__(num_envs)
        self.observation_space = SPACE

    def observe(self, physics):
        nest = super().observe(physics)
        place, box = nest["place"]
        number = tf.cast(place[:, None], tf.float32)
        return {"flags": nest["flags"], "number": number, "box": box}


class Subclassed(keras.Model):
    """A user's model by subclassing, which reads two entries."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(8)
        self.last = keras.layers.Dense(2)

    def call(self, observation):
        parts = [
            keras.ops.cast(observation["flags"], "float32"),
            observation["box"],
        ]
        return self.last(self.hidden(keras.ops.concatenate(parts, axis=-1)))


@pytest.mark.long
@pytest.mark.parametrize(
    "model",
    [
        lambda: network(as_dict=False),
        pytest.param(network, marks=pytest.mark.long),
        pytest.param(Subclassed, marks=pytest.mark.long),
    ],
)
def test_a_users_model_of_several_inputs(model):
    agent = DQN.for_env(Flat(4), network=model(), num_envs=4, seed=0, xla=False,
                        learning_starts=32)  # fmt: skip
    agent.fit(Flat(4), steps=128, epochs=1, verbose=0)
    observation = {"flags": [1, 0], "number": [1.0], "box": [1.0, 1.0]}
    assert agent.act(observation) in (0, 1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: network(unused="box"), r"ignores its input 'box'"),
        (lambda: network(("flags", "box"), as_dict=False), r"named 'number'"),
        (lambda: keras.Sequential([keras.Input([2]), keras.layers.Dense(2)]),
         r"for these observations|named"),
    ],
)  # fmt: skip
def test_a_model_for_other_observations_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        DQN.for_env(Flat(4), network=model(), num_envs=4)


def test_a_network_of_several_inputs_needs_a_spec():
    with pytest.raises(ValueError, match=r"`observation_spec` for a network of sev"):
        DQN(network())


def test_flattened_observations_give_the_same_values():
    """As `gymnasium.wrappers.FlattenObservation` orders the entries."""
    nested = encoder_for(SPACE, hidden=(5,), name="a")
    order = {"box": [1.0, 2.0], "flags": [1, 0], "number": [3.0]}
    flat = encoder_for(spaces.flatten_space(SPACE), hidden=(5,), name="b")
    flat.set_weights(nested.get_weights())
    batch = {key: np.float32([value]) for key, value in order.items()}
    row = spaces.flatten(SPACE, {k: np.asarray(v) for k, v in order.items()})
    np.testing.assert_allclose(nested(batch), flat(row[None]), rtol=1e-6)


def test_specs_round_trip():
    space = spaces.Dict(
        {"a": spaces.Tuple([spaces.Discrete(3, start=2), spaces.Text(4)]), "b": SPACE}
    )
    spec = ObservationSpec.of_space(space)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(spec)
    )
    assert again == spec
    assert len(tf.nest.flatten(spec.nest)) == 4  # without the text


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Dict({"a": spaces.Text(3)}), r"`observation_space` is Dict.*none"),
        (spaces.Dict({"a": spaces.Dict({"b": spaces.Graph(SPACE["box"], None)})}),
         r"`observation_space\['a'\]\['b'\]` is Graph"),
        (spaces.Tuple([spaces.Sequence(spaces.Discrete(2))]),
         r"`observation_space\[0\]` is Sequence"),
        (spaces.Dict({"a": spaces.Box(0, 1, [0])}), r"`observation_space\['a'\]`"),
    ],
)  # fmt: skip
def test_unsupported_spaces_name_the_entry(space, message):
    with pytest.raises(ValueError, match=message):
        ObservationSpec.of_space(space)


class Broken(Riddle):
    """Its box is NaN from the fifth step of an episode on."""

    bad, seen = np.nan, None

    def observe(self, physics):
        nest = super().observe(physics)
        place, box = nest["place"]
        bad = tf.equal(nest["flags"][:, :1], 1)
        return {**nest, "place": (place, tf.where(bad, self.bad, box))}


@pytest.mark.long
def test_nan_in_an_entry_is_reported_with_its_name():
    agent = made(learning_starts=10_000)
    with pytest.raises(NonFiniteError, match=r'infinite observation\["place"\]\[1\]'):
        agent.fit(Broken(8), steps=64, epochs=1, verbose=0)


@pytest.mark.long
def test_numbers_outside_of_an_entrys_bounds_are_told():
    class Outside(Broken):
        bad = 1000.0

    with pytest.warns(UserWarning, match=r"outside of 0 to 10.*entry \['place'\]\[1\]"):
        made(PPO).fit(Outside(8), steps=256, epochs=1, verbose=0)


class Shop(gymnasium.Env):
    """Reward by what a dictionary of floats and an index says, and by chance."""

    observation_space = spaces.Dict(
        {
            "which": spaces.Discrete(3),
            "where": spaces.Box(-1, 1, [2], np.float32),
            "flags": spaces.MultiBinary(2),
        }
    )
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 20
        return self._look(), {}

    def step(self, action):
        reward = float(action == self.which) + self.np_random.normal() * 0.1
        self.left -= 1
        return self._look(), reward, self.left == 0, False, {}

    def _look(self):
        self.which = int(self.np_random.integers(3))
        where = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        flags = self.np_random.integers(0, 2, 2).astype(np.int8)
        return {"which": self.which, "where": where, "flags": flags}


@pytest.mark.long
@pytest.mark.parametrize("kind", [PPO, DQN])
def test_flattened_observations_give_the_same_returns(kind):
    def flat():
        return gymnasium.wrappers.FlattenObservation(Shop())

    more = {"rollout_length": 16, "batch_size": 16} if kind is PPO else {}
    more |= {"learning_starts": 16} if kind is DQN else {}
    returns = []
    for env in (Shop, flat):
        agent = kind.for_env(env, hidden=(8,), num_envs=2, seed=3, xla=False, **more)
        history = agent.fit(env, steps=320, epochs=2, verbose=0).history
        scores = agent.evaluate(env, episodes=5, seed=1)
        returns.append([*history["return"], scores["return"]])
    np.testing.assert_allclose(*returns, rtol=1e-5)
