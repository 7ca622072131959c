"""Tests of `kerasrl2.training.train_steps`: Q-learning by `compile` and `fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.buffers import PrioritizedReplayBuffer, ReplayBuffer
from kerasrl2.envs.exact import NUM_STATES, Chain
from kerasrl2.layers import DuelingHead, NoisyDense
from kerasrl2.losses import ImportanceWeightedTDLoss
from tests.training.learners import (
    ONLINE,
    TARGET,
    QLearner,
    batch,
    learner,
    repeated,
    table,
    two_rows,
)

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

MODES = {
    "eager": {"run_eagerly": True},
    "graph": {},
    "xla": {"jit_compile": True},
    "xla, 3 per execution": {"jit_compile": True, "steps_per_execution": 3},
}
LONG = pytest.mark.long
WITHOUT_XLA = [  # that all agree is a test of its own
    pytest.param(mode, marks=[] if "jit_compile" not in MODES[mode] else LONG)
    for mode in MODES
]


def fit(model, element, steps=1, **arguments):
    return model.fit(
        repeated(element, steps), shuffle=False, verbose=0, **arguments
    ).history


@pytest.mark.parametrize("mode", WITHOUT_XLA)
@pytest.mark.parametrize("double_q", [True, False])
def test_one_step_by_hand(mode, double_q):
    """y = [11, 17], of all actions [11, 22]; Huber slopes are -w / 2."""
    model = learner(compiled=MODES[mode], double_q=double_q)
    history = fit(model, two_rows())
    errors = np.array([11.0, 17.0 if double_q else 22.0])
    loss = np.mean([1.0, 0.5] * (errors - 0.5))
    np.testing.assert_allclose(history["loss"], [loss], rtol=1e-6)
    np.testing.assert_allclose(history["td_error"], [errors.mean()], rtol=1e-6)
    wanted = np.float32(ONLINE)
    wanted[0, 0], wanted[1, 1] = 0.05, 0.025  # lr w / 2; nothing else moves at all
    np.testing.assert_array_equal(model.q_network.get_weights()[0], wanted)
    np.testing.assert_array_equal(model.target_network.get_weights()[0], TARGET)


def test_squared_loss_by_hand():
    model = learner("squared")
    history = fit(model, two_rows())
    np.testing.assert_allclose(history["loss"], [(11.0**2 + 0.5 * 17.0**2) / 2.0])
    moved = model.q_network.get_weights()[0][[0, 1], [0, 1]]
    np.testing.assert_allclose(moved, [0.1 * 11.0, 0.1 * 0.5 * 17.0], rtol=1e-6)


@pytest.mark.parametrize("reward", [-1.0, 0.0, 5.0])
def test_terminal_targets_are_the_reward(reward):
    """systems.md 004-17; the row that was cut bootstraps."""
    rows = batch([0, 1], [0, 0], [reward, reward], [0.0, 0.5], [2, 2])
    np.testing.assert_allclose(learner().q_targets(rows), [reward, reward + 10.0])


def test_rows_do_not_depend_on_their_batch_mates():
    whole = learner().q_targets(two_rows())
    for i in range(2):
        row = tf.nest.map_structure(lambda x: x[i : i + 1], two_rows())  # noqa: B023
        np.testing.assert_array_equal(learner().q_targets(row), whole[i : i + 1])


def test_the_target_network_follows():
    """T <- T + 0.25 (Q - T), after the step and with its outcome."""
    model = learner(tau=0.25)
    fit(model, two_rows())
    q = model.q_network.get_weights()[0]
    wanted = np.float32(TARGET) + 0.25 * (q - np.float32(TARGET))
    np.testing.assert_allclose(model.target_network.get_weights()[0], wanted)


@pytest.mark.long
def test_all_ways_to_run_agree():
    results = {}
    for mode, arguments in MODES.items():
        model = learner(compiled=arguments, tau=0.1)
        model.compile("adam", loss=ImportanceWeightedTDLoss(), **arguments)
        history = fit(model, two_rows(), steps=7, epochs=2)
        assert int(model.optimizer.iterations) == 14
        results[mode] = [*model.get_weights(), np.array(history["loss"])]
    for mode in MODES:
        for a, b in zip(results[mode], results["eager"], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_only_the_q_network_is_trained():
    model = learner()
    names = [w.path for w in model.trainable_weights]
    assert names == [w.path for w in model.q_network.trainable_weights]
    np.testing.assert_array_equal(model(np.eye(4, dtype="f4")), ONLINE)


def test_no_error_moves_nothing():
    rows = batch([0, 1], [0, 0], [0.0, 0.0], [0.5, 0.0], [0, 1])
    model = learner("squared")
    fit(model, rows)
    np.testing.assert_array_equal(model.q_network.get_weights()[0], ONLINE)


def prioritized():
    buffer = PrioritizedReplayBuffer(
        4, alpha=1.0, beta=1.0, epsilon=0.0, gamma=0.5, seed=1
    )
    states = np.eye(4, dtype="f4")
    for i in range(2):
        row = states[i : i + 1], [i], [i + 1.0], [False], [True], states[i + 2 : i + 3]
        buffer.add(*row)
    return buffer


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param("graph", marks=LONG),
        pytest.param("eager", marks=LONG),
        pytest.param("xla", marks=LONG),
        "xla, 3 per execution",
    ],
)
def test_priorities_are_written_back(mode):
    """|delta| before the step: 11 and 17."""
    model, buffer = learner(compiled=MODES[mode]), prioritized()
    np.testing.assert_allclose(buffer.probability([0, 1]), [0.5, 0.5])
    model.replay_buffer = buffer
    data = buffer.as_dataset(64, steps=1, with_index=True)
    model.fit(data, shuffle=False, verbose=0)
    np.testing.assert_allclose(buffer.probability([0, 1]), [11 / 28, 17 / 28])


def test_priorities_are_used_in_the_next_epoch():
    model, buffer = learner(optimizer=keras.optimizers.SGD(0.0)), prioritized()
    model.replay_buffer = buffer
    data = buffer.as_dataset(64, steps=1, with_index=True)
    history = model.fit(data, epochs=2, shuffle=False, verbose=0).history["loss"]
    # Uniform, then p = 11/28, 17/28 with weights 1, 11/17 (beta 1, batch maximum).
    np.testing.assert_allclose(history[0], np.mean([10.5, 16.5]), rtol=0.1)
    np.testing.assert_allclose(
        history[1], 11 / 28 * 10.5 + 17 / 28 * 11 / 17 * 16.5, rtol=0.02
    )


def test_indices_without_a_buffer_are_fine():
    buffer, model = prioritized(), learner()
    model.fit(buffer.as_dataset(4, steps=1, with_index=True), shuffle=False, verbose=0)
    np.testing.assert_allclose(buffer.probability([0, 1]), [0.5, 0.5])


def test_evaluate_moves_nothing():
    model = learner(tau=0.5)
    before = model.get_weights()
    result = model.evaluate(repeated(two_rows(), 3), return_dict=True, verbose=0)
    np.testing.assert_allclose(result["loss"], 9.375, rtol=1e-6)
    np.testing.assert_allclose(result["td_error"], 14.0, rtol=1e-6)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_metrics_of_ones_own():
    model = learner()
    model.compile("sgd", loss=ImportanceWeightedTDLoss(), metrics=["mae"])
    assert set(fit(model, two_rows())) == {"loss", "td_error", "mae"}


def noisy_network():
    return keras.Sequential(
        [keras.Input([4]), NoisyDense(8, "relu"), DuelingHead(2, noisy=True)]
    )


@pytest.mark.long
@pytest.mark.parametrize(("double_q", "online"), [(True, 2), (False, 1)])
def test_noisy_networks_draw_noise_for_targets(double_q, online):
    """One draw for the loss, one for the choice, one of the target network."""
    model = QLearner(noisy_network(), double_q=double_q, tau=0.1)
    model.compile("sgd", loss=ImportanceWeightedTDLoss())
    fit(model, two_rows(), steps=3)
    assert int(model.q_network.layers[0].noise_state[1]) == 3 * online
    assert int(model.target_network.layers[0].noise_state[1]) == 3
    seeds = [
        int(network.layers[0].noise_state[0])
        for network in (model.q_network, model.target_network)
    ]
    assert seeds[0] != seeds[1]


def test_other_networks_are_evaluated_for_targets():
    network = keras.Sequential(
        [keras.Input([4]), keras.layers.Dropout(0.5), keras.layers.Dense(2)]
    )
    model = QLearner(network)
    targets = [model.q_targets(two_rows()) for _ in range(2)]
    np.testing.assert_array_equal(*targets)


@pytest.mark.long
def test_a_saved_model_resumes_bit_for_bit(tmp_path):
    model = QLearner(noisy_network(), tau=0.1, double_q=False, name="mine")
    model.compile("adam", loss=ImportanceWeightedTDLoss("squared", delta=2.0))
    fit(model, two_rows(), steps=3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.name == "mine"
    assert isinstance(loaded.loss, ImportanceWeightedTDLoss)
    assert (loaded.tau, loaded.double_q, loaded.loss.loss) == (0.1, False, "squared")
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for part in (model, loaded):
        fit(part, two_rows(), steps=3)
    assert int(loaded.optimizer.iterations) == 6
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_that_was_never_called_can_be_saved(tmp_path):
    model = learner()
    assert model.built
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(loaded.get_weights()[0] != loaded.get_weights()[1])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        network = table(ONLINE)
        model = QLearner(network, tau=None)
        model.target_network.set_weights([np.float32(TARGET)])
        model.compile(keras.optimizers.SGD(0.1), loss=ImportanceWeightedTDLoss())
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.q_targets(two_rows()).dtype == tf.float32
    history = fit(model, two_rows())
    np.testing.assert_allclose(history["loss"], [9.375], rtol=1e-2)
    moved = network.get_weights()[0][[0, 1], [0, 1]]
    np.testing.assert_allclose(moved, [0.05, 0.025], rtol=1e-2)


def test_finds_the_optimal_values_of_chain_5():
    env, buffer = Chain(num_envs=8), ReplayBuffer(64, gamma=0.9, seed=0)
    state, _ = env.reset(tf.constant([0, 0]))
    physics = tf.repeat(tf.range(4), 2)
    state = state._replace(physics=physics)
    action = tf.tile([0, 1], [4])
    _, step = env.step(state, action, tf.constant([0, 0]))
    observation = tf.one_hot(physics, NUM_STATES)
    buffer.add(
        observation, action, step.reward, step.terminated, step.truncated,
        step.next_observation,
    )  # fmt: skip
    model = QLearner(table(np.zeros([NUM_STATES, 2])), tau=0.5)
    model.compile(keras.optimizers.SGD(2.0), loss=ImportanceWeightedTDLoss())
    model.fit(buffer.as_dataset(32, steps=400), shuffle=False, verbose=0)
    optimum = [[0.6561, 0.729], [0.6561, 0.81], [0.729, 0.9], [0.81, 1.0]]
    np.testing.assert_allclose(model.q_network.get_weights()[0][:4], optimum, atol=0.01)


def test_bad_input():
    with pytest.raises(ValueError, match="`tau`"):
        QLearner(table(ONLINE), tau=0.0)
    with pytest.raises(ValueError, match=r"built `keras.Model`"):
        QLearner(keras.Sequential([keras.layers.Dense(2)]))
    with pytest.raises(ValueError, match="as_dataset` makes it"):
        fit(learner(), (tf.zeros([2, 4]), tf.zeros([2, 2])))
    model = learner()
    model.replay_buffer = prioritized()
    with pytest.raises(ValueError, match="with_index=True"):
        fit(model, two_rows())
    model.replay_buffer = ReplayBuffer(4)
    with pytest.raises(ValueError, match="`PrioritizedReplayBuffer`"):
        fit(model, (tf.zeros([2], tf.int64), two_rows()))
