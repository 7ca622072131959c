"""What losses are given: sizes that differ, actions that are none, dtypes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import losses
from kerasrl2.action_values import CategoricalValues, QuantileValues, ScalarValues

TWO, ONE = tf.ones([2]), tf.ones([1])
Q_TWO, Q_ONE = tf.ones([2, 3]), tf.ones([1, 3])
ACTIONS, ACTION = tf.constant([0, 1]), tf.constant([0])
ATOMS = tf.constant([0.0, 1.0, 2.0])
HALF = tf.constant([0.5])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [  # in each, one size of 1 that would be repeated
        ("value_of_action", (Q_ONE, ACTIONS)),
        ("value_of_action", (Q_TWO, ACTION)),
        ("q_learning_target", (ONE, TWO, Q_TWO, Q_TWO)),
        ("q_learning_target", (TWO, TWO, Q_ONE, Q_TWO)),
        ("q_learning_target", (ONE, ONE, Q_TWO, Q_TWO)),
        ("q_learning_td_error", (Q_TWO, ACTION, TWO, TWO, Q_TWO)),
        ("q_learning_td_error", (Q_TWO, ACTIONS, ONE, TWO, Q_TWO)),
        ("q_learning_td_error", (Q_TWO, ACTIONS, TWO, TWO, Q_ONE)),
        ("double_q_td_error", (Q_TWO, ACTION, TWO, TWO, Q_TWO, Q_TWO)),
        ("double_q_td_error", (Q_TWO, ACTIONS, TWO, TWO, Q_TWO, Q_ONE)),
        ("munchausen_reward", (Q_TWO, ACTION)),
        ("munchausen_td_error", (Q_TWO, ACTION, TWO, TWO, Q_TWO, Q_TWO)),
        ("munchausen_td_error", (Q_TWO, ACTIONS, TWO, ONE, Q_TWO, Q_TWO)),
        ("munchausen_td_error", (Q_TWO, ACTIONS, TWO, TWO, Q_ONE, Q_TWO)),
        ("importance_weighted_td_loss", (TWO, ONE)),
        ("project_distribution", (ATOMS, Q_ONE, TWO, TWO)),
        ("project_distribution", (ATOMS, Q_TWO, TWO, ONE)),
        ("project_distribution", (ATOMS, tf.ones([2, 1]), TWO, TWO)),
        ("distributional_cross_entropy", (Q_ONE, Q_TWO)),
        ("quantile_huber_loss", (Q_ONE, Q_TWO, ATOMS / 2.0)),
        ("quantile_huber_loss", (Q_TWO, Q_TWO, HALF)),
        ("quantile_huber_loss", (Q_TWO, Q_TWO, Q_ONE / 2.0)),
        ("quantile_huber_loss", (Q_TWO, Q_TWO, 0.5)),
        ("squared_error", (TWO, ONE)),
        ("value_loss", (ONE, TWO)),
        ("clipped_value_loss", (TWO, ONE, TWO)),
        ("clipped_value_loss", (TWO, TWO, ONE)),
        ("policy_gradient_loss", (TWO, ONE)),
        ("clipped_surrogate_loss", (TWO, TWO, ONE)),
        ("clipped_surrogate_loss", (TWO, ONE, TWO)),
        ("categorical_log_prob", (Q_ONE, ACTIONS)),
        ("approximate_kl", (ONE, TWO)),
        ("kl_penalty", (TWO, TWO)),
    ],
)
def test_sizes_that_differ_are_an_error(name, arguments):
    function = getattr(losses, name)
    with pytest.raises(ValueError, match=r"Expected .*Received: "):
        function(*arguments)
    with pytest.raises(ValueError, match=r"Expected .*Received: "):
        tf.function(function, autograph=False).get_concrete_function(*arguments)


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred", "weight"),
    [
        (losses.PolicyGradientLoss(), [0.0], Q_TWO, None),
        (losses.PolicyGradientLoss(), [0.0, 1.0], Q_TWO, [1.0]),
        (losses.ActorCriticLoss(), [0.0], Q_TWO, [1.0, 1.0]),
        (losses.HuberCriticLoss(), [0.0], tf.ones([2, 1]), None),
        (losses.HuberCriticLoss(), [0.0, 1.0], tf.ones([2, 1]), [[1.0]]),
        (losses.ImportanceWeightedTDLoss(), [[0.0, 1.0]], Q_TWO, None),
        (losses.ImportanceWeightedTDLoss(), [[0.0, 1.0]] * 2, Q_TWO, [1.0]),
    ],
)
def test_sizes_in_the_classes_for_keras(loss, y_true, y_pred, weight):
    with pytest.raises(ValueError, match=r"Expected .*Received: "):
        loss(y_true, y_pred, sample_weight=weight)


def test_shapes_unknown_to_a_graph_pass():
    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([None])])
    def error(q_values, reward):
        action = tf.cast(reward, tf.int32)
        return losses.double_q_td_error(
            q_values, action, reward, 0.0 * reward, q_values, q_values
        )

    np.testing.assert_allclose(error(Q_TWO, TWO), [0.0, 0.0])


def test_three_shapes_of_which_the_first_is_unknown():
    @tf.function(input_signature=[tf.TensorSpec([None])])
    def loss(value):
        return losses.clipped_value_loss(value, TWO, ONE)

    with pytest.raises(ValueError, match="one shape"):
        loss.get_concrete_function()


# Actions


@pytest.mark.parametrize("action", [-1, 3, 0.5, 2**32, float("nan")])
def test_what_is_no_action_is_an_error_outside_of_graphs(action):
    with pytest.raises(ValueError, match=r"in \[0, 3\)\. Received: \["):
        losses.value_of_action(Q_TWO, np.array([1, action]))
    values = tf.ones([2, 3, 4])
    for kind in (QuantileValues(4), CategoricalValues(4, 0.0, 1.0)):
        with pytest.raises(ValueError, match=r"in \[0, 3\)"):
            kind.loss(values, np.array([1, action]), tf.ones([2, 4]) / 4.0)
    with pytest.raises(ValueError, match=r"in \[0, 3\)"):
        losses.ImportanceWeightedTDLoss()([[action, 0.0]], Q_ONE)


def test_what_is_no_action_is_nan_without_gradient_in_graphs(compiled):
    """It was the nearest action under XLA, and the last one for -1."""
    values = tf.random.normal([4, 3], seed=1)
    action = tf.constant([1, 3, -1, 2])

    def error(values, action):
        taken = losses.value_of_action(values, action)
        return losses.huber(tf.zeros([4]) - taken), taken

    with tf.GradientTape() as tape:
        tape.watch(values)
        if tf.executing_eagerly() and compiled(error) is error:
            with pytest.raises(ValueError, match="Received: "):
                error(values, action)
            return
        loss, taken = compiled(error)(values, action)
    np.testing.assert_array_equal(np.isnan(taken), [False, True, True, False])
    slope = tape.gradient(loss, values).numpy()
    assert not slope[1:3].any()
    assert slope[0, 1] * slope[3, 2] != 0.0
    assert np.count_nonzero(slope) == 2


@pytest.mark.parametrize("mode", ["graph", "xla"])
@pytest.mark.parametrize(
    "values", [QuantileValues(2), CategoricalValues(2, 0.0, 1.0), ScalarValues()]
)
def test_no_action_in_action_values(values, mode):
    outputs = tf.reshape(tf.range(12.0), [2, 3, 2]) / 12.0
    target = tf.constant([[0.5, 0.5], [0.5, 0.5]])
    if isinstance(values, ScalarValues):
        outputs, target = outputs[..., 0], target[..., 0]

    def loss(outputs, action):
        return values.loss(outputs, action, target)[0]

    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = tf.function(loss, jit_compile=mode == "xla")(
            outputs, tf.constant([1, 7])
        )
    np.testing.assert_array_equal(np.isnan(loss), [False, True])
    slope = tape.gradient(loss, outputs).numpy()
    assert slope[0].any()
    assert not slope[1].any()


def test_no_action_gives_the_policy_no_gradient():
    logits = tf.constant([[0.0, 1.0], [0.0, 1.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = losses.categorical_log_prob(logits, tf.constant([1.0, 0.5]))
    np.testing.assert_array_equal(np.isnan(log_prob), [False, True])
    slope = tape.gradient(log_prob, logits).numpy()
    assert slope[0].any()
    assert not slope[1].any()
    assert np.isnan(losses.PolicyGradientLoss()([5.0], [[0.0, 0.0]]))
    assert np.isnan(losses.PolicyGradientLoss()([0.5], [[0.0, 0.0]]))


# Numbers


@pytest.mark.parametrize("delta", [np.inf, 1e39])
def test_huber_of_an_infinite_delta_is_half_the_square(compiled, delta):
    error = tf.constant([1.0, -3.0, 0.0])
    with tf.GradientTape() as tape:
        tape.watch(error)
        loss = compiled(lambda error: losses.huber(error, delta))(error)
    np.testing.assert_allclose(loss, [0.5, 4.5, 0.0])
    np.testing.assert_allclose(tape.gradient(loss, error), [1.0, -3.0, 0.0])


def test_huber_of_infinite_errors():
    error = tf.constant([np.inf, -np.inf])
    with tf.GradientTape() as tape:
        tape.watch(error)
        loss = losses.huber(error, 2.0)
    np.testing.assert_array_equal(loss, [np.inf, np.inf])
    np.testing.assert_array_equal(tape.gradient(loss, error), [2.0, -2.0])
    np.testing.assert_array_equal(losses.huber(error, np.inf), [np.inf, np.inf])


def test_quantile_loss_of_an_infinite_delta(compiled):
    """u = [1, -3], tau 1/2: half of half the square, slopes -u / 4 of each mean."""
    theta, target = tf.zeros([1, 1]), tf.constant([[1.0, -3.0]])
    with tf.GradientTape() as tape:
        tape.watch(theta)
        loss = compiled(lambda x: losses.quantile_huber_loss(x, target, HALF, np.inf))(
            theta
        )
    np.testing.assert_allclose(loss, [0.5 * (0.5 + 4.5) / 2.0])
    np.testing.assert_allclose(tape.gradient(loss, theta), [[0.5 * (-1.0 + 3.0) / 2.0]])


@pytest.mark.parametrize(("tau", "loss"), [([0.2, 0.7], 2.0), ([0.0, 0.4], 2.2)])
def test_plain_quantile_loss(tau, loss):
    """Row 16 of the worked values, from rlax."""
    theta, target = tf.constant([[-1.0, 3.0]]), tf.constant([[-3.0, 4.0, 2.0]])
    result = losses.quantile_huber_loss(theta, target, tf.constant(tau), delta=0.0)
    np.testing.assert_allclose(result, [loss], rtol=1e-6)
    near = losses.quantile_huber_loss(theta, target, tf.constant(tau), delta=1e-4)
    np.testing.assert_allclose(near / 1e-4, [loss], rtol=1e-3)


def test_infinite_deltas_elsewhere():
    error, weight = tf.constant([1.0, -3.0]), tf.constant([1.0, 2.0])
    loss = losses.importance_weighted_td_loss(error, weight, np.inf)
    np.testing.assert_allclose(loss, [0.5, 9.0])
    critic = losses.HuberCriticLoss(np.inf, reduction="none")
    np.testing.assert_allclose(critic([1.0, -3.0], [0.0, 0.0]), [0.5, 4.5])
    copy = keras.losses.deserialize(keras.losses.serialize(critic))
    assert copy.delta == np.inf
    weighted = losses.ImportanceWeightedTDLoss(delta=np.inf)
    np.testing.assert_allclose(weighted([[0, 3.0]], Q_ONE), 2.0)
    loss, _ = ScalarValues(delta=np.inf).loss(Q_ONE, ACTION, 4.0 * ONE)
    np.testing.assert_allclose(loss, [4.5])
    loss, _ = QuantileValues(1, np.inf).loss(Q_ONE[..., None], ACTION, 4.0 * Q_ONE)
    np.testing.assert_allclose(loss, [2.25])


def test_an_infinite_range_does_not_clip():
    value, target = tf.constant([5.0]), tf.constant([1.0])
    with tf.GradientTape() as tape:
        tape.watch(value)
        loss = losses.clipped_value_loss(value, 0.0 * value, target, np.inf)
    np.testing.assert_allclose(loss, [8.0])
    np.testing.assert_allclose(tape.gradient(loss, value), [4.0])
    reward = losses.munchausen_reward([[0.0, 9.0]], [0], 1.0, clip=-np.inf)
    np.testing.assert_allclose(reward, [-0.9 * 9.0], rtol=1e-4)
    np.testing.assert_array_equal(losses.kl_penalty(TWO, 2.0, np.inf), [0.0, 0.0])


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e39, 1e-45, 0.0, [1.0], TWO])
def test_temperatures_that_are_none(value):
    for function in (losses.scaled_log_policy, losses.soft_value):
        with pytest.raises(ValueError, match=r"Expected `temperature` .*Received: "):
            function(Q_ONE, value)


@pytest.mark.parametrize("value", [np.inf, np.nan, -1.0, "1", TWO])
def test_coefficients_that_are_none(value):
    with pytest.raises(ValueError, match=r"Expected `coefficient` .*Received: "):
        losses.kl_penalty(TWO, value)
    with pytest.raises(ValueError, match=r"Expected `entropy_coefficient` .*Received"):
        losses.ActorCriticLoss(value)


@pytest.mark.parametrize("value", [0.0, 1e-39, -1.0, np.nan, TWO])
def test_deltas_that_are_none(value):
    with pytest.raises(ValueError, match=r"Expected `delta` .*Received: "):
        losses.huber(TWO, value)


# Supports


@pytest.mark.parametrize(
    "support",
    [
        [2.0, 1.0, 0.0],
        [0.0, 0.1, 2.0],
        [0.0, 0.0, 1.0],
        [0.0, 1.0, np.inf],
        [0.0, np.nan, 2.0],
        [1.0, 1.0, 1.0],
    ],
)
def test_supports_that_lose_mass_are_refused(support):
    arguments = tf.constant([[0.2, 0.3, 0.5]]), ONE, ONE
    with pytest.raises(ValueError, match=r"evenly spaced atoms.*Received: support="):
        losses.project_distribution(tf.constant(support), *arguments)
    with pytest.raises(ValueError, match="evenly spaced atoms"):  # a known constant
        tf.function(
            lambda: losses.project_distribution(support, *arguments), autograph=False
        )()


@pytest.mark.parametrize(("low", "high"), [(-10.0, 10.0), (0.0, 1e-3), (1e4, 1e4 + 9)])
def test_supports_rounded_to_float32_keep_mass(low, high):
    atoms = np.linspace(low, high, 51, dtype=np.float32)
    uniform = tf.ones([1, 51]) / 51.0
    result = losses.project_distribution(atoms, uniform, 0.3 * ONE * high, 0.7 * ONE)
    np.testing.assert_allclose(tf.reduce_sum(result), 1.0, rtol=1e-3)


@pytest.mark.parametrize(
    ("minimum", "maximum"),
    [
        (-np.inf, 1.0),
        (0.0, np.inf),
        (0.0, np.nan),
        (np.nan, 1.0),
        (1.0, 0.0),
        ("0", 1.0),
        (0.0, "1"),
        (1.0, 1.0 + 1e-9),
        (-3e38, 3e38),
    ],
)
def test_ranges_of_atoms_that_are_none(minimum, maximum):
    with pytest.raises(ValueError, match=r"Expected .*Received: "):
        CategoricalValues(3, minimum, maximum)


@pytest.mark.parametrize("fractions", [[0.5, 1.5], [-0.1, 0.5], [0.5, np.nan]])
def test_fractions_that_are_none(fractions):
    with pytest.raises(ValueError, match=r"`fractions` in \[0, 1\]\. Received"):
        losses.quantile_huber_loss(Q_TWO[:, :2], Q_TWO, tf.constant(fractions))


# Dtypes


def arguments_of(dtype):
    """A call of each function with its float tensors in one dtype."""
    q, one = (tf.cast(x, dtype) for x in (Q_TWO, TWO))
    atoms = tf.cast(ATOMS, dtype)
    yield "value_of_action", (q, ACTIONS)
    yield "q_learning_target", (one, one, q, q)
    yield "q_learning_td_error", (q, ACTIONS, one, one, q)
    yield "double_q_td_error", (q, ACTIONS, one, one, q, q)
    yield "munchausen_reward", (q, ACTIONS)
    yield "munchausen_td_error", (q, ACTIONS, one, one, q, q)
    yield "soft_value", (q,)
    yield "importance_weighted_td_loss", (one, one)
    yield "project_distribution", (atoms, q, one, one)
    yield "distributional_cross_entropy", (q, q)
    yield "quantile_huber_loss", (q, q, atoms / 2)
    yield "huber", (one,)
    yield "value_loss", (one, one)
    yield "clipped_value_loss", (one, one, one)
    yield "policy_gradient_loss", (one, one)
    yield "clipped_surrogate_loss", (one, one, one)
    yield "categorical_log_prob", (q, ACTIONS)
    yield "categorical_entropy", (q,)
    yield "approximate_kl", (one, one)
    yield "kl_penalty", (one, 0.5, 0.1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes(dtype):
    """Half precision is computed in float32, float64 stays."""
    expected = "float64" if dtype == "float64" else "float32"
    wanted = dict(arguments_of("float64"))
    for name, arguments in arguments_of(dtype):
        function = getattr(losses, name)
        result = function(*arguments)
        assert result.dtype == (dtype if name == "value_of_action" else expected), name
        np.testing.assert_allclose(
            tf.cast(result, tf.float64),
            function(*wanted[name]),
            rtol=1e-2,
            err_msg=name,
        )


@pytest.mark.parametrize("network", ["float16", "float32", "float64"])
def test_dtypes_that_differ(network):
    """Targets of the environment in float64, values of the network in another one."""
    value, target = (
        tf.constant([1.0, 2.0], network),
        tf.constant([3.0, 4.0], tf.float64),
    )
    np.testing.assert_allclose(losses.value_loss(value, target), [2.0, 2.0])
    q = tf.ones([2, 3], network)
    error = losses.q_learning_td_error(q, ACTIONS, target, 0.0 * target, q)
    np.testing.assert_allclose(error, [2.0, 3.0])
    assert error.dtype == ("float64" if network == "float64" else "float32")


def test_half_precision_does_not_overflow():
    error = tf.constant([300.0], tf.float16)
    np.testing.assert_allclose(losses.huber(error, 1e4), [45_000.0])


def test_lists_and_arrays():
    np.testing.assert_allclose(losses.value_loss([1.0], np.array([3.0])), [2.0])
    np.testing.assert_allclose(losses.policy_gradient_loss([-1.0], [2]), [2.0])
    np.testing.assert_allclose(losses.huber([2]), [1.5])
