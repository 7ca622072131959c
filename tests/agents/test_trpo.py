"""Tests of `kerasrl2.agents.TRPO`. Its mathematics: `test_natural_gradient.py`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.agents import TRPO, ObservationSpec
from kerasrl2.agents.surrogate import Surrogate, flat
from kerasrl2.distributions import Categorical
from kerasrl2.types import OnPolicyBatch
from tests import newcomers
from tests.agents.harness import SEED
from tests.agents.nested_worlds import Minefield, Riddle
from tests.agents.test_regularization import AddsLoss
from tests.harness import compiled_in_long_runs
from tests.newcomers.recurrent_ppo import GRUActorCritic

newcomers.forget()  # what importing one has registered

WHOLE = {"line_search": False, "step_size": 1.0, "damping": 0.0}


def table_agent(*, regularizer=None, **hyperparameters):
    """Logits `x W`, `W` 2 x 2, equal probabilities in both states; value `x w`."""
    inputs = keras.Input([2])
    dense = keras.layers.Dense
    logits = dense(2, use_bias=False, kernel_regularizer=regularizer)(inputs)
    value = dense(1, use_bias=False)(inputs)
    network = keras.Model(inputs, [logits, value])
    network.set_weights([np.zeros([2, 2]), np.array([[1.0], [2.0]])])
    settings = {"optimizer": keras.optimizers.SGD(0.1), "normalize_advantages": False}
    settings |= {"num_epochs": 1, "batch_size": None, "xla": False, "seed": 0}
    return TRPO(network, Categorical(2), **{**settings, **hyperparameters})


def make_batch(advantage=(1.0, -3.0), **changes):
    """One step in each state, action 1; the values' errors are 1 and -2."""
    rows = len(advantage)
    arrays = {
        "observation": np.eye(2, dtype="f4")[np.arange(rows) % 2],
        "action": np.ones([rows], "i4"),
        "log_prob": np.full([rows], np.log(0.5), "f4"),
        "value": np.array([1.0, 2.0], "f4")[np.arange(rows) % 2],
        "advantage": np.array(advantage, "f4"),
        "target": np.array([2.0, 0.0], "f4")[np.arange(rows) % 2],
        "valid": np.ones([rows], bool),
    }
    return OnPolicyBatch(
        **{k: tf.constant(v) for k, v in {**arrays, **changes}.items()}
    )


def policy_weights(agent):
    return agent.network.get_weights()[0]


@compiled_in_long_runs
def test_a_natural_step_by_hand(compiled):
    """In each state `g = A / 2 * (-1/4, 1/4) * 2` and `F = [[1, -1], [-1, 1]] / 8`.

    So `x = A * (-1, 1)`: twice `A` for the difference of the logits, half of it each.
    """
    agent = table_agent(**WHOLE)
    sums, updates = compiled(agent.learn_from)(make_batch(), SEED)
    np.testing.assert_allclose(
        policy_weights(agent), [[-1.0, 1.0], [3.0, -3.0]], rtol=1e-5
    )
    kl = [-np.log(2.0 * np.sqrt(p * (1 - p))) for p in 1 / (1 + np.exp([-2.0, 6.0]))]
    gain = 1 / (1 + np.exp(-2.0)) * 2.0 - 1 - 3 * (2 / (1 + np.exp(6.0)) - 1)
    expected = {
        "kl": np.mean(kl),
        "improvement": gain / 2,
        "step_fraction": 1.0,
        "cg_residual": 0.0,
        "policy_gradient_norm": np.sqrt(2 * (1 + 9)) / 4,
        "entropy": np.log(2.0),
        "value_loss": (1.0 + 4.0) / 4,
        "loss": (1.0 + 4.0) / 4,
        "gradient_norm": np.sqrt(0.25 + 1.0),
    }
    assert float(updates) == 1.0
    found = {name: float(sums[name]) for name in expected}
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)
    # The critic: half the squared errors 1 and -2, learning rate 0.1.
    np.testing.assert_allclose(agent.network.get_weights()[1], [[1.05], [1.9]])


def test_the_natural_step_is_the_same_for_every_policy():
    """As in a table by 2002-06: vanilla gradients shrink with `p (1 - p)`."""
    for p in (0.5, 0.9, 0.01):
        agent = table_agent(**WHOLE)
        before = np.array([[0.0, np.log(p / (1 - p))]] * 2)
        agent.network.set_weights([before, agent.network.get_weights()[1]])
        log_prob = np.full([2], np.log(p), "f4")
        agent.learn_from(make_batch((1 - p, 1 - p), log_prob=log_prob), SEED)
        change = policy_weights(agent) - before
        # Advantage of rewards 0 and 1 when action 1 was taken: 1 - p; scores 1 - p.
        gap = (1 - p) ** 2 / (p * (1 - p))
        np.testing.assert_allclose(change[:, 1] - change[:, 0], [gap] * 2, rtol=1e-3)


def test_the_length_of_a_step_is_that_of_the_divergence():
    """To second order: the line search takes off a little, if it must."""
    agent = table_agent(damping=0.0, target_kl=1e-4, backtrack_factor=0.998)
    sums, _ = agent.learn_from(make_batch(), SEED)
    assert 0.98e-4 < float(sums["kl"]) <= 1e-4
    assert 0.99 < float(sums["step_fraction"]) <= 1.0


@pytest.mark.parametrize(
    ("settings", "fraction"),
    [
        ({"step_size": 1.0, "target_kl": 1e-3, "max_backtracks": 3}, 0.0),
        ({"step_size": 0.2, "target_kl": 0.004, "backtrack_factor": 0.5}, 0.25),
        ({"step_size": 0.2, "target_kl": 1.0}, 1.0),
        ({"step_size": 3e38, "line_search": False}, 0.0),  # the divergence overflows
    ],
)
def test_steps_within_the_bound(settings, fraction):
    agent = table_agent(damping=0.0, **settings)
    batch = make_batch((1.0, -1.0))
    surrogate = Surrogate(agent, batch)
    before = surrogate(flat(surrogate.variables))
    start = policy_weights(agent)
    critic = agent.network.get_weights()[1]
    sums, _ = agent.learn_from(batch, SEED)
    moved = policy_weights(agent)
    assert float(sums["step_fraction"]) == pytest.approx(fraction)
    assert (agent.network.get_weights()[1] != critic).all()  # in any case
    if fraction == 0.0:
        np.testing.assert_array_equal(moved, start)
        assert float(sums["kl"]) == float(sums["improvement"]) == 0.0
        return
    after = surrogate(flat(surrogate.variables))
    gain = float(after.objective - before.objective)
    assert float(sums["improvement"]) == pytest.approx(gain, rel=1e-5)
    assert float(sums["kl"]) == pytest.approx(float(after.kl), rel=1e-5)
    assert gain > 0.0
    assert float(after.kl) <= settings["target_kl"]


def test_without_an_advantage_there_is_no_step():
    agent = table_agent()
    sums, _ = agent.learn_from(make_batch((0.0, 0.0)), SEED)
    np.testing.assert_array_equal(policy_weights(agent), np.zeros([2, 2]))
    assert float(sums["step_fraction"]) == float(sums["cg_residual"]) == 0.0
    assert agent.guard.is_healthy()


@pytest.mark.parametrize("line_search", [True, False])
def test_nan_moves_nothing_and_is_reported(line_search):
    agent = table_agent(line_search=line_search)
    before = agent.network.get_weights()
    agent.learn_from(make_batch((np.nan, 1.0)), SEED)
    for new, old in zip(agent.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(new, old)
    assert not agent.guard.is_healthy()


def test_rows_that_are_not_valid_count_nothing():
    plain, padded = table_agent(**WHOLE), table_agent(**WHOLE)
    plain.learn_from(make_batch(), SEED)
    batch = make_batch((1.0, -3.0, 50.0, 70.0), valid=[True, True, False, False])
    padded.learn_from(batch, SEED)
    pairs = zip(plain.network.get_weights(), padded.network.get_weights(), strict=True)
    for expected, found in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_stale_rows_are_weighted_by_their_ratio():
    """Behaviour 1/4, policy 1/2: the gradient, and so the step, is twice as large."""
    agent = table_agent(**WHOLE)
    agent.learn_from(make_batch(log_prob=np.full([2], np.log(0.25), "f4")), SEED)
    np.testing.assert_allclose(policy_weights(agent), [[-2, 2], [6, -6]], rtol=1e-5)


def test_entropy_and_regularizers_are_part_of_the_objective():
    batch = make_batch((0.0, 0.0))
    uneven = [np.array([[0.0, 1.0]] * 2), np.zeros([2, 1])]
    more = table_agent(entropy_coefficient=0.1)
    less = table_agent(regularizer=keras.regularizers.L2(0.1))
    for agent in (more, less):
        agent.network.set_weights(uneven)
        assert float(agent.learn_from(batch, SEED)[0]["improvement"]) > 0.0
    gap = policy_weights(more)[:, 1] - policy_weights(more)[:, 0]
    assert (gap < 1.0).all()
    assert (np.abs(policy_weights(less)).sum() < 2.0).all()
    assert "regularization" not in more.report_names


def test_the_fisher_matrix_of_a_share_of_the_rows():
    """Half of four rows: of one state or of both, by the seed; then all of them."""
    agent = table_agent(fisher_subsampling=0.5, damping=0.0)
    batch = make_batch((1.0, 1.0, 1.0, 1.0))
    surrogate = Surrogate(agent, batch)
    weights = flat(surrogate.variables)
    vector = tf.constant([1.0, -1.0, 1.0, -1.0])
    seen = set()
    for i in range(20):
        product = surrogate.fisher_product(weights, tf.constant([0, i]))
        seen.add(tuple(np.round(product(vector).numpy(), 5).tolist()))
    assert seen == {
        (0.25, -0.25, 0.25, -0.25), (0.5, -0.5, 0.0, 0.0), (0.0, 0.0, 0.5, -0.5),
    }  # fmt: skip
    agent.fisher_subsampling = 1.0
    product = surrogate.fisher_product(weights, tf.constant([0, 0]))
    np.testing.assert_allclose(product(vector), [0.25, -0.25, 0.25, -0.25])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TRPO.for_env("CartPole-v1", shared_trunk=True),
         r"share no weights.*4 shared ones.*shared_trunk=False"),
        (lambda: table_agent(fisher_subsampling=0.0), r"`fisher_subsampling` in \(0"),
        (lambda: table_agent(target_kl=0.0), r"`target_kl` in \(0"),
        (lambda: table_agent(target_kl=None), r"`target_kl` to be a number"),
        (lambda: table_agent(damping=-1.0), "`damping`"),
        (lambda: table_agent(cg_iterations=0), "`cg_iterations`"),
        (lambda: table_agent(max_backtracks=1.5), "`max_backtracks`"),
        (lambda: table_agent(backtrack_factor=1.0), "`backtrack_factor`"),
        (lambda: table_agent(step_size=0.0), "`step_size`"),
        (lambda: TRPO.for_env("CartPole-v1", value_coefficient=0.5),
         "keyword of `TRPO.for_env`"),
    ],
)  # fmt: skip
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def network_of(body, policy=True):
    inputs = keras.Input([4])
    features = body(inputs)
    dense = keras.layers.Dense
    outputs = dense(2, trainable=policy)(features), dense(1)(dense(3)(inputs))
    return keras.Model(inputs, outputs)


def test_networks_that_cannot_be_used():
    dense = keras.layers.Dense(3, trainable=False)
    with pytest.raises(ValueError, match=r"trainable weights of the policy.*none"):
        TRPO.for_env("CartPole-v1", network=network_of(dense, policy=False))
    with pytest.raises(ValueError, match=r"add no losses.*adds_loss"):
        TRPO.for_env("CartPole-v1", network=network_of(AddsLoss()))

    class Recurrent(TRPO):
        def initial_state(self, num_envs):
            return tf.zeros([num_envs, 4])

        def _check_network(self):
            pass

    with pytest.raises(ValueError, match=r"without memory.*recurrent.*use PPO"):
        Recurrent(GRUActorCritic([4], 2, 4), Categorical(2), ObservationSpec((4,)))


@keras.saving.register_keras_serializable(package="tests")
class OtherLoss(TRPO):
    def policy_loss(self, log_prob, advantage, batch):
        return -log_prob * advantage, {}


def test_a_loss_that_nothing_calls_is_refused():
    with pytest.raises(ValueError, match=r"in OtherLoss.*Received: `policy_loss`"):
        OtherLoss.for_env("CartPole-v1", hidden=(4,))


@pytest.mark.long
def test_a_frozen_trunk_may_be_shared():
    inputs = keras.Input([4])
    trunk = keras.layers.Dense(3, trainable=False)
    dense = keras.layers.Dense
    outputs = dense(2)(trunk(inputs)), dense(1)(trunk(inputs))
    agent = TRPO.for_env("CartPole-v1", network=keras.Model(inputs, outputs), **SMALL)
    before = trunk.get_weights()
    history = agent.fit("CartPole-v1", steps=32, epochs=1, verbose=0).history
    assert history["step_fraction"][0] > 0.0
    for new, old in zip(trunk.get_weights(), before, strict=True):
        np.testing.assert_array_equal(new, old)
    trunk.trainable = True
    with pytest.raises(ValueError, match=r"2 shared ones"):
        agent.fit("CartPole-v1", steps=32, epochs=1, verbose=0)


SMALL = {"num_envs": 2, "rollout_length": 8, "batch_size": 8, "seed": 0, "xla": False}


@pytest.mark.long
@pytest.mark.parametrize(
    "world", [Minefield, pytest.param(Riddle, marks=pytest.mark.long)]
)
def test_masks_dictionaries_and_several_actions(world):
    """A mine's reward is NaN, which `fit` raises; Riddle nests its observations."""
    agent = TRPO.for_env(world(4), hidden=(8,), num_envs=4, seed=0, xla=False,
                         rollout_length=32, batch_size=64)  # fmt: skip
    history = agent.fit(world(4), steps=512, epochs=1, verbose=0).history
    for name in agent.report_names:
        assert np.isfinite(history[name]).all(), name
    assert history["step_fraction"][0] > 0.5
    assert 0.0 < history["kl"][0] <= agent.target_kl


@pytest.mark.long
@pytest.mark.parametrize("xla", [True, False])
@pytest.mark.parametrize("distribution", ["gaussian", "squashed_gaussian", "beta",
                                          "gsde"])  # fmt: skip
def test_every_continuous_head_improves_within_the_bound(distribution, xla):
    agent = TRPO.for_env("Pendulum-v1", distribution=distribution, hidden=(16,),
                         num_envs=4, rollout_length=64, seed=0, xla=xla)  # fmt: skip
    history = agent.fit("Pendulum-v1", steps=2048, epochs=8, verbose=0).history
    assert min(history["step_fraction"]) > 0.0
    assert 0.0 < max(history["kl"]) <= agent.target_kl
    assert min(history["improvement"]) > 0.0


@pytest.mark.long
def test_a_changed_number_counts_and_compiles_nothing():
    """As in `test_numbers`, of what only this agent has."""
    changes = {
        "target_kl": 1e-4, "step_size": 0.1, "damping": 2.0, "cg_iterations": 1,
        "backtrack_factor": 0.1, "max_backtracks": 1, "entropy_coefficient": 3.0,
    }  # fmt: skip
    first = {"target_kl": 1e-3, "step_size": 1.0, "damping": 0.5, "max_backtracks": 50}

    def fresh(**more):
        agent = table_agent(**{**first, **more})
        agent.network.set_weights(
            [np.array([[0.3, -0.2], [0.1, 0.4]]), np.ones([2, 1])]
        )
        return agent

    batch = make_batch((1.0, -3.0, 2.0, 0.5))
    agent = fresh()
    learn = tf.function(agent.learn_from, autograph=False)
    start = agent.get_weights()
    learn(batch, SEED)
    usual = policy_weights(agent)
    for name, value in changes.items():
        agent.set_weights(start)
        before = getattr(agent, name)
        setattr(agent, name, value)
        learn(batch, SEED)
        setattr(agent, name, before)
        other = fresh(**{name: value})
        other.learn_from(batch, SEED)
        found = policy_weights(agent)
        np.testing.assert_allclose(found, policy_weights(other), atol=1e-5)
        assert np.abs(found - usual).max() > 1e-4, name
    assert learn.experimental_get_tracing_count() == 1


@pytest.mark.long
def test_modes_agree():
    """Eager, graph and XLA: the same step from the same batch."""
    found = []
    for mode in ("eager", "graph", "xla"):
        agent = TRPO.for_env("Pendulum-v1", hidden=(8,), seed=0, num_epochs=1,
                             batch_size=None)  # fmt: skip
        rng = np.random.default_rng(0)
        observation = tf.constant(rng.normal(size=[64, 3]).astype("f4"))
        outputs = agent.forward(observation)
        action = agent.head.sample(outputs.parameters, SEED)
        batch = OnPolicyBatch(
            observation=observation,
            action=action,
            log_prob=agent.head.log_prob(outputs.parameters, action),
            value=outputs.value,
            advantage=tf.constant(rng.normal(size=[64]).astype("f4")),
            target=tf.constant(rng.normal(size=[64]).astype("f4")),
            valid=tf.ones([64], tf.bool),
        )
        learn = agent.learn_from
        if mode != "eager":
            learn = tf.function(learn, jit_compile=mode == "xla", autograph=False)
        sums, _ = learn(batch, SEED)
        found.append(({k: float(v) for k, v in sums.items()}, agent.get_weights()))
    for sums, weights in found[1:]:
        assert sums == pytest.approx(found[0][0], rel=2e-3, abs=1e-5)
        for a, b in zip(weights, found[0][1], strict=True):
            np.testing.assert_allclose(a, b, atol=2e-4)
