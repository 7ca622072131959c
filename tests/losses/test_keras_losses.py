"""Tests of `kerasrl2.losses.keras_losses`: in `compile`, `fit` and files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.losses import ActorCriticLoss, HuberCriticLoss, PolicyGradientLoss

# Keras 3.15 saves variables in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

LOGITS = np.log([[0.75, 0.25], [0.5, 0.5], [0.1, 0.9]]).astype("f4")
ACTION, ADVANTAGE = np.array([1, 0, 1]), np.array([2.0, -1.0, 0.5], "f4")
# by hand: -log p of the action times the advantage, and the entropies
POLICY = -np.log([0.25, 0.5, 0.9]) * ADVANTAGE
ENTROPY = np.array([0.562335, 0.693147, 0.325083])


@pytest.mark.parametrize("cast", ["int32", "int64", "float32"])
@pytest.mark.parametrize("column", [False, True])
def test_values_by_hand(compiled, cast, column):
    def shaped(x):
        return tf.constant(x[:, None] if column else x)

    reductions = {"sum_over_batch_size": np.mean, "sum": np.sum, "none": np.asarray}

    @compiled
    def losses(*args):
        return {
            reduction: (
                PolicyGradientLoss(reduction=reduction)(*args),
                ActorCriticLoss(0.1, reduction=reduction)(*args),
            )
            for reduction in reductions
        }

    args = shaped(ACTION.astype(cast)), tf.constant(LOGITS), shaped(ADVANTAGE)
    for reduction, (policy, actor) in losses(*args).items():
        reduce = reductions[reduction]
        np.testing.assert_allclose(policy, reduce(POLICY), rtol=1e-5)
        np.testing.assert_allclose(actor, reduce(POLICY - 0.1 * ENTROPY), rtol=1e-5)


def test_the_total_of_three_objectives_by_hand():
    """p = [.75, .25], a = 1, A = 2, c_H = .01, V = 1, R = 3, c_V = .5 on the square."""
    actor = ActorCriticLoss(0.01)([1], LOGITS[:1], sample_weight=[2.0])
    np.testing.assert_allclose(actor, 2.766965, atol=1e-6)
    assert float(HuberCriticLoss()([3.0], [[1.0]])) == 1.5
    exact = ActorCriticLoss(0.1)([1], LOGITS[:1], sample_weight=[2.0])
    np.testing.assert_allclose(exact, 2.716355, atol=1e-6)


def test_slopes_by_hand():
    """The advantage scales the policy term only; 0 leaves the entropy's slope."""
    logits = tf.constant(LOGITS[:1])
    for advantage, slope in [
        (0.0, [0.0205990, -0.0205990]),
        (2.0, [1.520599, -1.520599]),
    ]:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = ActorCriticLoss(0.1)([1.0], logits, sample_weight=[advantage])
        np.testing.assert_allclose(tape.gradient(loss, logits), [slope], atol=1e-6)


def test_repeating_the_batch_changes_nothing():
    twice = [np.concatenate([x, x]) for x in (ACTION, LOGITS, ADVANTAGE)]
    for loss in (PolicyGradientLoss(), ActorCriticLoss(0.05)):
        once = loss(ACTION, LOGITS, sample_weight=ADVANTAGE)
        np.testing.assert_allclose(loss(twice[0], twice[1], twice[2]), once, rtol=1e-6)
    critic = HuberCriticLoss()
    once = critic([1.0, 5.0], [[1.5], [1.0]])
    np.testing.assert_allclose(
        critic([1.0, 5.0] * 2, [[1.5], [1.0]] * 2), once, rtol=1e-6
    )


def test_critic_never_broadcasts(compiled):
    loss = compiled(HuberCriticLoss())
    returns, values = tf.constant([1.0, 3.0]), tf.constant([[1.0], [3.0]])
    for y_true in (returns, returns[:, None]):
        for y_pred in (values, values[:, 0]):
            assert float(loss(y_true, y_pred)) == 0.0
            np.testing.assert_allclose(loss(y_true + 2.0, y_pred), 1.5)
    weighted = HuberCriticLoss()(returns + 2.0, values, sample_weight=[[1.0], [3.0]])
    np.testing.assert_allclose(weighted, 3.0)


def two_headed_model():
    keras.utils.set_random_seed(1)
    x = keras.Input([3])
    hidden = keras.layers.Dense(8, activation="tanh")(x)
    logits = keras.layers.Dense(2, name="policy")(hidden)
    value = keras.layers.Dense(1, name="value")(hidden)
    model = keras.Model(x, [logits, value])
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=[ActorCriticLoss(0.1), HuberCriticLoss(2.0)],
        loss_weights=[1.0, 0.5],
    )
    return model


def by_hand(model, x, action, advantage, returns):
    logits, value = model(x)
    log_p = tf.nn.log_softmax(logits)
    policy = -tf.gather(log_p, action, batch_dims=1) * advantage
    entropy = -tf.reduce_sum(tf.exp(log_p) * log_p, axis=1)
    error = tf.abs(value[:, 0] - returns)
    critic = tf.where(error < 2.0, error**2 / 2.0, 2.0 * (error - 1.0))
    return tf.reduce_mean(policy - 0.1 * entropy + 0.5 * critic)


@pytest.mark.long
@pytest.mark.parametrize(
    "jit_compile", [True, pytest.param(False, marks=pytest.mark.long)]
)
def test_fit_of_two_outputs_and_a_file(tmp_path, jit_compile):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 3)).astype("f4")
    action = rng.integers(2, size=16)
    advantage, returns = rng.normal(size=(2, 16)).astype("f4") * [[1], [4]]
    advantage, returns = advantage.astype("f4"), returns.astype("f4")
    model = two_headed_model()
    model.jit_compile = jit_compile
    weights = model.trainable_weights
    with tf.GradientTape() as tape:
        loss = by_hand(model, x, action, advantage, returns)
    expected = [
        w - 0.1 * g for w, g in zip(weights, tape.gradient(loss, weights), strict=True)
    ]
    history = model.fit(
        x,
        [action, returns],
        sample_weight=[advantage, np.ones(16)],
        batch_size=16,
        verbose=0,
    )
    np.testing.assert_allclose(history.history["loss"], [loss], rtol=1e-5)
    for new, wanted in zip(model.trainable_weights, expected, strict=True):
        np.testing.assert_allclose(new, wanted, atol=1e-6)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [type(loss).__name__ for loss in loaded.loss] == [
        "ActorCriticLoss",
        "HuberCriticLoss",
    ]
    arguments = ([action, returns], [advantage, np.ones(16)])
    before = model.evaluate(x, *arguments[:1], sample_weight=arguments[1], verbose=0)
    after = loaded.evaluate(x, *arguments[:1], sample_weight=arguments[1], verbose=0)
    np.testing.assert_allclose(before, after, rtol=1e-6)
    wanted = by_hand(model, x, action, advantage, returns)
    np.testing.assert_allclose(before[0], wanted, rtol=1e-5)


def test_config_round_trip():
    for loss in (
        PolicyGradientLoss(reduction="sum"),
        ActorCriticLoss(0.3, reduction="sum", name="actor"),
        HuberCriticLoss(2.5, name="critic"),
    ):
        config = keras.losses.serialize(loss)
        copy = keras.losses.deserialize(config)
        assert type(copy) is type(loss)
        assert copy.get_config() == loss.get_config()
        assert config["registered_name"].startswith("kerasrl2>")


def test_bad_input():
    loss = PolicyGradientLoss()
    with pytest.raises(ValueError, match=r"`y_true` of shape \(B,\) or \(B, 1\)"):
        loss(np.zeros([3, 2]), LOGITS)  # one-hot actions
    with pytest.raises(ValueError, match=r"`y_pred` to be logits"):
        loss(ACTION, LOGITS[None])
    with pytest.raises(ValueError, match=r"batch size \(3,\). Received: \(2,\)"):
        loss(ACTION[:2], LOGITS)
    with pytest.raises(ValueError, match="`sample_weight`"):
        loss(ACTION, LOGITS, sample_weight=np.ones([3, 2]))
    with pytest.raises(ValueError, match="`reduction`"):
        PolicyGradientLoss(reduction="mean_with_sample_weight")
    with pytest.raises(ValueError, match="`entropy_coefficient`"):
        ActorCriticLoss(-1.0)
    critic = HuberCriticLoss()
    with pytest.raises(ValueError, match="`y_pred`"):
        critic([1.0, 3.0], [[1.0, 3.0], [1.0, 3.0]])
    with pytest.raises(ValueError, match="`y_true`"):
        critic([1.0, 3.0, 4.0], [[1.0], [3.0]])
    with pytest.raises(ValueError, match="`delta`"):
        HuberCriticLoss(delta=0.0)
