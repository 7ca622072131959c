"""Agents whose policy remembers: PPO, A2C and DQN with recurrent networks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import kerasrl2 as krl
from kerasrl2.agents import A2C, DQN, PPO, ObservationSpec, Rainbow
from kerasrl2.layers import RecurrentNetwork, recurrent_q_network
from kerasrl2.training.collect import begin_episodes, collect
from kerasrl2.training.recurrence import unroll, unroll_network
from tests.agents.harness import SEED
from tests.agents.nested_worlds import Minefield, Riddle
from tests.memory_worlds import Recall
from tests.training.worlds import Scripted

# Keras 3.15 under NumPy 2 warns of its own variables.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
LONG = pytest.mark.long

SMALL = {"recurrent": "gru", "recurrent_units": 4, "hidden": (5,), "seed": 0}
ROLLOUT = {"num_envs": 4, "rollout_length": 8, "batch_size": 16, "num_epochs": 2}
REPLAY = {
    "num_envs": 2, "learning_starts": 20, "batch_size": 4, "sequence_length": 5,
    "burn_in": 2, "buffer_size": 200, "target_update_interval": 5,
}  # fmt: skip


@keras.saving.register_keras_serializable(package="tests")
class OwnNetwork(keras.Model):
    """A network of the user's own: what another one says, by the protocol alone."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner
        self.built = True

    def initial_state(self, batch_size):
        return self.inner.initial_state(batch_size)

    def call(self, observation, state, training=False):
        return self.inner(observation, state, training=training)

    def get_config(self):
        return {"inner": keras.saving.serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["inner"]))


def states_of(agent, observations, resets):
    """By single steps: the state before each of `[T, N, ...]`, and after the last."""
    state = agent.initial_state(resets.shape[1])
    states = [state]
    for seen, ended in zip(observations, resets, strict=True):
        state = agent.forward(seen, state).policy_state
        first = agent.initial_state(resets.shape[1])
        state = tf.nest.map_structure(
            lambda leaf, zero, ended=ended: tf.where(ended[:, None], zero, leaf),
            state, first,
        )  # fmt: skip
        states.append(state)
    return states


def rollout_of(agent, env, length, **more):
    state = begin_episodes(agent, env, SEED)
    return collect(agent, env, state, length, SEED, keep="outputs", **more)[1]


@pytest.mark.long
@pytest.mark.parametrize(
    ("agent_class", "settings", "xla"),
    [
        pytest.param(PPO, ROLLOUT, True, marks=LONG),
        (A2C, {"num_envs": 2, "rollout_length": 4}, False),
        pytest.param(DQN, REPLAY, True, marks=LONG),
        pytest.param(Rainbow, {**REPLAY, "num_atoms": 5}, False, marks=LONG),
    ],
)
def test_trains_saves_loads_and_is_a_model(agent_class, settings, xla, tmp_path):
    agent = agent_class.for_env(
        "CartPole-v1", normalize_observations=True, xla=xla, **SMALL, **settings
    )
    before = [weight.numpy() for weight in agent.trainable_weights]
    history = agent.fit("CartPole-v1", steps=128, epochs=2, verbose=0).history
    assert all(np.isfinite(history[name]).all() for name in agent.metric_names)
    for weight, old in zip(agent.trainable_weights, before, strict=True):
        assert not np.array_equal(weight, old), weight.path
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras")
    agent.policy.save(tmp_path / "policy.keras")
    policy = keras.models.load_model(tmp_path / "policy.keras")
    agent.export(tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served")
    names = [name for name, _ in sorted(served.initial_state(3).items())]
    rng = np.random.default_rng(0)
    state = agent.initial_state(3)
    of_loaded, of_policy, of_served = state, state, tf.nest.flatten(state)
    for _ in range(4):
        seen = rng.normal(size=[3, 4]).astype("f4")
        action, state = agent.act(seen, policy_state=state)
        again, of_loaded = loaded.act(seen, policy_state=of_loaded)
        outputs = policy([tf.constant(seen), of_policy])
        of_policy = outputs["policy_state"]
        of_export, *of_served = served.serve(seen, *of_served)
        np.testing.assert_array_equal(action, again)
        np.testing.assert_array_equal(action, outputs["action"])
        np.testing.assert_array_equal(action, of_export)
        for other in (of_loaded, of_policy, of_served):
            for a, b in zip(*map(tf.nest.flatten, (state, other)), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert len(names) == len(of_served)
    assert max(np.ptp(leaf) for leaf in tf.nest.flatten(state)) > 1e-3


@pytest.mark.long
@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_other_formats_take_and_return_the_state(format, tmp_path):
    pytest.importorskip("ai_edge_litert" if format == "tflite" else "onnxruntime")
    agent = PPO.for_env("CartPole-v1", **{**SMALL, "recurrent": "lstm"})
    path = tmp_path / f"policy.{format}"
    agent.export(path, format=format)
    if format == "tflite":
        from ai_edge_litert.interpreter import Interpreter

        run = Interpreter(str(path)).get_signature_runner("serving_default")
    else:
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        outputs = [output.name for output in session.get_outputs()]

        def run(**inputs):
            return dict(zip(outputs, session.run(outputs, inputs), strict=True))

    state = agent.initial_state(1)
    flat = tf.nest.flatten(state)
    theirs = {f"policy_state_{i}": leaf.numpy() for i, leaf in enumerate(flat)}
    assert len(theirs) == 4
    rng = np.random.default_rng(0)
    for _ in range(4):
        seen = rng.normal(size=[1, 4]).astype("f4")
        action, state = agent.act(seen, policy_state=state)
        said = run(observation=seen, **theirs)
        theirs = {name: said[f"next_{name}"] for name in theirs}
        np.testing.assert_array_equal(said["action"], action)
    flat = tf.nest.flatten(state)
    for own, name in zip(flat, sorted(theirs), strict=True):
        np.testing.assert_allclose(theirs[name], own, rtol=1e-4, atol=1e-5)


def test_acting_and_evaluation_remember_alike():
    """By hand over whole episodes: the returns are those of `evaluate`."""
    agent = A2C.for_env(Recall(4, alternating=True), xla=False, **SMALL)
    env = Recall(4, delay=3, alternating=True)
    for seed in range(20):  # weights with which the sign makes a difference
        krl.layers.seed_weights(agent.network, seed)
        for weight in agent.network.decoder.trainable_weights:
            weight.assign(50.0 * weight)
        env_state, seen = env.reset(SEED)
        state, total = agent.initial_state(4), np.zeros(4)
        for _ in range(4):
            action, state = agent.act(seen.numpy(), policy_state=state)
            env_state, after = env.step(env_state, tf.constant(action), SEED)
            seen, total = after.observation, total + after.reward.numpy()
        assert (after.terminated | after.truncated).numpy().all()
        scores = agent.evaluate(env, episodes=4)
        assert scores["return"] == total.mean(), seed
        if total.mean() not in (0.0, 0.5):
            return
    raise AssertionError("no policy depends on the sign")


@pytest.mark.long
def test_the_state_goes_on_from_rollout_to_rollout_and_ends_with_episodes():
    """In the loop itself, which is what a checkpoint holds."""
    env = Scripted([3, 5, 11], 3, cut=2)
    agent = A2C.for_env(env, rollout_length=4, num_envs=3, xla=False, **SMALL)
    agent.learning_rate = 0.0
    loop = agent.loop(env)
    rollout = rollout_of(agent, env, 12)
    resets = rollout.terminated | rollout.truncated
    expected = states_of(agent, rollout.observation, resets)
    agent.fit(env, steps=36, epochs=3, verbose=0)
    loop = agent.loop_on(env)
    for own, known in zip(
        *map(tf.nest.flatten, (loop.carry.actor.policy_state, expected[-1])),
        strict=True,
    ):
        np.testing.assert_allclose(own, known, rtol=1e-5, atol=1e-6)
        assert np.ptp(known) > 1e-3
    kept = [variable.numpy() for variable in loop.variables_by_name().values()]
    for leaf in tf.nest.flatten(loop.carry.actor.policy_state):
        assert any(np.array_equal(leaf, value) for value in kept)


def test_what_learns_is_the_policy_that_acted_and_pieces_change_no_value():
    """Same weights: no divergence, whatever the length of sequences."""
    env = Scripted([3, 5, 11], 4, cut=2, next_step_reset=True)
    losses = {}
    for length in (None, 4, 1):
        agent = PPO.for_env(
            env, sequence_length=length, normalize_advantages=False, xla=False,
            **SMALL, **ROLLOUT,
        )  # fmt: skip
        rollout = rollout_of(agent, env, 8, keep_states=length is not None)
        batch, _ = agent.prepare(rollout, agent.initial_learner_state(4))
        rows = 4 * 8 // (length or 8)
        assert batch.log_prob.shape == [rows, length or 8]
        loss, metrics = agent.compute_loss(batch, SEED)
        assert abs(float(metrics["kl"])) < 1e-8
        losses[length] = float(loss), float(metrics["value_loss"])
        outputs = agent.outputs_of(batch)
        np.testing.assert_allclose(outputs.value, batch.value, rtol=1e-4, atol=1e-5)
    for length in (4, 1):
        np.testing.assert_allclose(losses[length], losses[None], rtol=1e-5)


def test_successors_of_cut_episodes_are_valued_with_the_memory():
    env = Scripted([3, 5], 2, cut=1)
    agent = A2C.for_env(env, num_envs=2, rollout_length=6, xla=False, **SMALL)
    rollout = rollout_of(agent, env, 6)
    resets = rollout.truncated | rollout.terminated
    states = states_of(agent, rollout.observation, resets)
    found = agent.next_values(rollout, rollout.value)
    for t in range(6):
        after = agent.forward(rollout.observation[t], states[t]).policy_state
        expected = agent.forward(rollout.next_observation[t], after).value
        np.testing.assert_allclose(found[t], expected, rtol=1e-5, atol=1e-6)
    assert rollout.truncated.numpy().sum() == 2


def test_sequences_of_a_network_of_the_users_own_are_those_of_its_cell():
    """Values and gradients, through a loop that calls it step by step."""
    inner = PPO.for_env("CartPole-v1", xla=False, **SMALL).network
    seen = tf.random.stateless_normal([5, 3, 4], SEED)
    resets = tf.random.stateless_uniform([5, 3], SEED) < 0.3
    weights, found = [w.value for w in inner.trainable_weights], []
    for network in (inner, OwnNetwork(inner)):
        with tf.GradientTape() as tape:
            outputs, states = unroll_network(
                network, seen, network.initial_state(3), resets
            )
            loss = tf.add_n([tf.reduce_sum(tf.sin(3.0 * x)) for x in outputs])
        gradients = tape.gradient(loss, weights)
        found.append([*outputs, *tf.nest.flatten(states), *gradients])
    for own, known in zip(*found, strict=True):
        np.testing.assert_allclose(own, known, rtol=1e-4, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("agent_class", [PPO, DQN])
def test_a_network_of_the_users_own_learns_alike(agent_class, tmp_path):
    settings = ROLLOUT if agent_class is PPO else REPLAY
    own = agent_class.for_env("CartPole-v1", xla=False, **SMALL, **settings)
    inner = agent_class.for_env("CartPole-v1", xla=False, **SMALL).network
    plain = {key: value for key, value in SMALL.items() if key == "seed"}
    user = agent_class.for_env(
        "CartPole-v1", network=OwnNetwork(inner), xla=False, **plain, **settings
    )
    for agent in (own, user):
        agent.fit("CartPole-v1", steps=64, epochs=1, verbose=0)
    moved = 0.0
    for a, b in zip(own.trainable_weights, user.trainable_weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)
        moved += float(np.abs(a).sum())
    assert moved > 0.0
    assert int(own.optimizer.iterations) == int(user.optimizer.iterations) > 0
    user.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras", {"OwnNetwork": OwnNetwork})
    state, seen = user.initial_state(2), np.ones([2, 4], "f4")
    for a, b in zip(
        *(tf.nest.flatten(x.act(seen, policy_state=state)) for x in (user, loaded)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


class Doubting(PPO):
    """A subclass that changes what the network says: sequences must ask it, too."""

    def forward(self, observation, policy_state=(), training=False, seed=None):
        outputs = super().forward(observation, policy_state, training, seed)
        return outputs._replace(value=outputs.value + 10.0)


def test_sequences_ask_forward_where_a_subclass_changes_it():
    agents = [
        made.for_env("CartPole-v1", xla=False, **SMALL, **ROLLOUT)
        for made in (PPO, Doubting)
    ]
    seen = tf.random.stateless_normal([5, 3, 4], SEED)
    resets = tf.zeros([5, 3], tf.bool)
    plain, doubting = (
        unroll(agent, seen, agent.initial_state(3), resets) for agent in agents
    )
    np.testing.assert_allclose(doubting.value, plain.value + 10.0, rtol=1e-6)
    np.testing.assert_allclose(doubting.parameters, plain.parameters, atol=1e-7)


@pytest.mark.long
@pytest.mark.parametrize("agent_class", [A2C, DQN])
@pytest.mark.parametrize("world", [Minefield, Riddle])
def test_nested_observations_and_masks(agent_class, world, tmp_path):
    """An illegal action would be a mine: NaN, which ends the run."""
    settings = {} if agent_class is A2C else REPLAY
    agent = agent_class.for_env(world(), xla=False, **SMALL, **settings)
    agent.fit(world(2), steps=60, epochs=1, verbose=0)
    scores = agent.evaluate(world(2), episodes=2)
    assert np.isfinite(scores["return"])
    if world is Minefield:
        mask = np.array([[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]], np.int8)
        seen = {"observation": np.ones([3, 2], "f4"), "action_mask": mask}
        state = agent.initial_state(3)
        for _ in range(3):
            action, state = agent.act(seen, training=True, policy_state=state)
            assert mask[np.arange(3), action].all()
        outputs = agent.policy(tf.nest.map_structure(tf.constant, [seen, state]))
        assert mask[np.arange(3), outputs["action"]].all()


HEADS = {
    "gaussian": ("Pendulum-v1", {"distribution": "gaussian"}),
    "dependent": ("Pendulum-v1", {"distribution": "squashed_gaussian",
                                  "standard_deviation": "dependent"}),
    "beta": ("Pendulum-v1", {"distribution": "beta"}),
    "gsde": ("Pendulum-v1", {"distribution": "gsde"}),
    "pictures": ("GridBreakout-v0", {}),
    "stack": ("CartPole-v1", {"recurrent": ["lstm", keras.layers.SimpleRNNCell(3)]}),
    "shared": ("CartPole-v1", {"shared_trunk": True, "normalize_rewards": True}),
    "n_step": ("CartPole-v1", {"n_step": 3}),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", HEADS)
def test_heads_and_spaces(name, tmp_path):
    env_id, settings = HEADS[name]
    settings = {**SMALL, "num_envs": 2, "rollout_length": 4, "xla": False, **settings}
    agent = A2C.for_env(env_id, **settings)
    agent.fit(env_id, steps=32, epochs=1, verbose=0)
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras")
    spec = agent.observation_spec
    seen, state = np.ones([3, *spec.shape], spec.dtype), agent.initial_state(3)
    for _ in range(2):
        (a, after), (b, same) = (
            x.act(seen, policy_state=state) for x in (agent, loaded)
        )
        np.testing.assert_array_equal(a, b)
        tf.nest.map_structure(np.testing.assert_array_equal, after, same)
        outputs = agent.policy(
            [tf.constant(seen), tf.nest.map_structure(tf.constant, state)]
        )
        np.testing.assert_allclose(outputs["action"], a, rtol=1e-5, atol=1e-6)
        state = after


@pytest.mark.long
def test_mixed_precision(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        for made, settings in ((PPO, ROLLOUT), (DQN, REPLAY)):
            agent = made.for_env("CartPole-v1", **SMALL, **settings)
            assert agent.network.cell.compute_dtype == "bfloat16"
            history = agent.fit("CartPole-v1", steps=64, epochs=1, verbose=0).history
            assert np.isfinite(history["loss"]).all()
            agent.save(tmp_path / "agent.keras")
            krl.load_agent(tmp_path / "agent.keras")
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.long
@pytest.mark.parametrize("part", ["encoder", "cell"])
def test_frozen_parts_stay(part):
    agent = A2C.for_env("CartPole-v1", shared_trunk=True, xla=False, **SMALL)
    getattr(agent.network, part).trainable = False
    before = [weight.numpy() for weight in agent.network.weights]
    frozen = {id(w) for w in getattr(agent.network, part).weights}
    agent.fit("CartPole-v1", steps=80, epochs=1, verbose=0)
    for weight, old in zip(agent.network.weights, before, strict=True):
        assert np.array_equal(weight, old) == (id(weight) in frozen), weight.path


# What is refused


def functional(*layers_, outputs=(2, 1)):
    x = inputs = keras.Input((4,))
    for layer in layers_:
        x = layer(x)
    return keras.Model(inputs, [keras.layers.Dense(size)(x) for size in outputs])


class Bare(keras.Model):
    """Uses a cell and keeps its state to itself."""

    def __init__(self):
        super().__init__()
        self.cell = keras.layers.GRUCell(3)
        self.policy, self.critic = keras.layers.Dense(2), keras.layers.Dense(1)

    def call(self, x, training=False):
        rows = keras.ops.shape(x)[0]
        x, _ = self.cell(x, [keras.ops.zeros([rows, 3])])
        return self.policy(x), self.critic(x)


class Wrong(keras.Model):
    """Returns as state what is none."""

    def __init__(self, wrong):
        super().__init__()
        self.wrong = wrong
        self.policy, self.critic = keras.layers.Dense(2), keras.layers.Dense(1)

    def initial_state(self, batch_size):
        return tf.zeros([batch_size, 3])

    def call(self, observation, state, training=False):
        outputs = self.policy(observation), self.critic(observation)
        return outputs if self.wrong is None else (*outputs, state[:, : self.wrong])


class Rows(keras.layers.Layer):
    """`[B, F]` to `[1, B, F]`: the batch as time."""

    def call(self, x):
        return x[None]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            lambda: functional(
                keras.layers.Reshape((1, 4)), keras.layers.LSTM(3, name="inner")
            ),
            "without state handling: 'inner' of .* begins anew at each call",
        ),
        (
            lambda: functional(Rows(), keras.layers.GRU(3), keras.layers.Flatten()),
            "begins anew at each call",
        ),
        (
            lambda: functional(
                keras.layers.Reshape((1, 4)),
                keras.layers.Bidirectional(keras.layers.LSTM(3)),
            ),
            "begins anew at each call",
        ),
        (Bare, "'gru_cell.*has a state that no call returns"),
        (lambda: Wrong(None), "it has `initial_state`.*It is "),
        (lambda: Wrong(2), r"must be the next state, of \[\(\(3,\), 'float32'\)\]"),
    ],
)
def test_a_recurrent_network_without_state_handling_is_refused(network, message):
    with pytest.raises(ValueError, match=message):
        PPO.for_env("CartPole-v1", network=network())


def test_a_layer_that_keeps_its_state_is_refused():
    inputs = keras.Input(batch_shape=(8, 4, 2))
    x = keras.layers.LSTM(3, stateful=True)(inputs)
    network = keras.Model(inputs, [keras.layers.Dense(n)(x) for n in (2, 1)])
    with pytest.raises(ValueError, match="keeps its state where episodes end"):
        A2C(network, krl.distributions.Categorical(2), ObservationSpec((4, 2)))


def test_a_layer_over_a_stack_of_observations_is_no_memory():
    inputs = keras.Input((4, 2))
    x = keras.layers.LSTM(3)(inputs)
    network = keras.Model(inputs, [keras.layers.Dense(n)(x) for n in (2, 1)])
    agent = A2C(network, krl.distributions.Categorical(2))
    assert not agent.remembers
    assert agent.act(np.ones([3, 4, 2], "f4")).shape == (3,)


@pytest.mark.parametrize(
    ("agent_class", "settings", "message"),
    [
        (PPO, {"sequence_length": 4}, "`sequence_length` with a recurrent network"),
        (DQN, {"burn_in": 4}, "`sequence_length` and `burn_in` with a recurrent"),
        (DQN, {"sequence_length": 4}, "and 'q_network' without state"),
        (DQN, {**SMALL, "burn_in": -1}, "`burn_in`"),
        (
            DQN,
            {**SMALL, "distribution": "implicit_quantile"},
            "Expected `recurrent` with the distribution 'scalar', 'categorical'",
        ),
        (PPO, {"recurrent": "lstn"}, "`recurrent` to be one of: lstm, gru"),
        (PPO, {"recurrent": "lstm", "recurrent_units": 0}, "`recurrent_units`"),
    ],
)
def test_settings_that_do_not_fit_are_refused(agent_class, settings, message):
    with pytest.raises(ValueError, match=message):
        agent_class.for_env("CartPole-v1", **settings)


@pytest.mark.parametrize("agent_class", [A2C, DQN])
def test_a_network_and_a_cell_for_it_are_refused(agent_class):
    network = agent_class.for_env("CartPole-v1", **SMALL).network
    with pytest.raises(ValueError, match="Expected `recurrent` or `network`, not both"):
        agent_class.for_env("CartPole-v1", network=network, recurrent="lstm")


def test_sequences_divide_rollouts_and_minibatches():
    env = krl.envs.make("CartPole-v1", num_envs=4)
    settings = {**SMALL, **ROLLOUT}
    agent = PPO.for_env(env, **{**settings, "sequence_length": 3})
    with pytest.raises(
        ValueError, match="`sequence_length` to divide the rollout of 8"
    ):
        agent.loop(env)
    agent = PPO.for_env(env, **{**settings, "batch_size": 4})
    with pytest.raises(ValueError, match="in whole sequences of 8: the policy remem"):
        agent.loop(env)
    agent = PPO.for_env(env, **{**settings, "batch_size": 4, "sequence_length": 2})
    agent.loop(env)


def test_acting_asks_for_the_state():
    agent = DQN.for_env("CartPole-v1", **SMALL)
    with pytest.raises(ValueError, match="`policy_state`: the policy of DQN remembers"):
        agent.act(np.ones(4, "f4"))
    action, state = agent.act(np.ones(4, "f4"), policy_state=agent.initial_state(1))
    assert action.shape == ()
    assert isinstance(state[0], np.ndarray)


def test_the_spec_of_observations_is_the_encoders():
    made = PPO.for_env("CartPole-v1", **SMALL)
    agent = PPO(made.network, made.head)
    assert agent.observation_spec.shape == (4,)
    assert isinstance(agent.network, RecurrentNetwork)
    network = recurrent_q_network(spaces.Discrete(5), 3, hidden=())
    values, _ = network(tf.constant([1, 4]))
    assert values.shape == (2, 3)
