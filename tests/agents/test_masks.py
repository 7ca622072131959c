"""Action masks: what is not legal is never taken, and gets no gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.agents import (
    A2C,
    A3C,
    DQN,
    PPO,
    RND,
    TRPO,
    DiscreteSAC,
    QActorCritic,
    Rainbow,
    Reinforce,
)
from kerasrl2.agents.specs import ObservationSpec
from kerasrl2.buffers import ReplayBuffer
from kerasrl2.distributions import Categorical, MultiCategorical, mask_parameters
from kerasrl2.exploration import Boltzmann, EpsilonGreedy, Greedy
from kerasrl2.types import PolicyOutputs, Transition
from tests.agents.harness import SEED
from tests.agents.nested_worlds import STEPS, Minefield
from tests.agents.test_regularization import q_network

SMALL = {"hidden": (16,), "num_envs": 8, "seed": 0}
SETTINGS = {
    PPO: {"rollout_length": 32},
    A2C: {},
    Reinforce: {"rollout_length": 16},
    QActorCritic: {},
    DQN: {"learning_starts": 64, "epsilon_steps": 1000, "target_update_interval": 50},
    Rainbow: {"learning_starts": 64, "value_range": (0.0, 8.0), "buffer_size": 4096},
}


def spec_with_mask(shape=(2,), num_actions=2):
    inner = spaces.Box(-9, 9, shape)
    mask = spaces.MultiBinary(num_actions)
    return ObservationSpec.of_space(
        spaces.Dict({"observation": inner, "action_mask": mask})
    )


def transition(mask):
    """Row 5 of vectors.md, with a mask of the next states."""
    now, later = [[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]

    def nest(rows, mask):
        return {"observation": tf.constant(rows), "action_mask": tf.constant(mask)}

    ones = [[1, 1], [1, 1]]
    return Transition(
        observation=nest(now, ones),
        action=tf.constant([0, 1]),
        reward=tf.constant([10.0, 20.0]),
        discount=tf.constant([0.9, 0.9]),
        next_observation=nest(later, mask),
        weight=tf.constant([1.0, 1.0]),
    )


@pytest.mark.parametrize(
    ("mask", "loss"), [([[1, 1], [1, 1]], 26.0), ([[0, 1], [1, 0]], 23.75)]
)
@pytest.mark.parametrize("double", [False, True])
def test_the_next_action_of_a_target_is_legal(mask, loss, double):
    agent = DQN(
        q_network(), observation_spec=spec_with_mask(), gamma=0.9, double=double,
        buffer=ReplayBuffer(8), batch_size=2, seed=0, xla=False,
    )  # fmt: skip
    found, _ = agent.compute_loss(transition(mask), SEED)
    assert float(found) == pytest.approx(loss, rel=1e-6)


def test_soft_targets_are_over_legal_actions():
    """With one legal action it is the greedy target, without entropy."""
    agent = DQN(
        q_network(), observation_spec=spec_with_mask(), gamma=0.9, munchausen=0.0,
        temperature=100.0, buffer=ReplayBuffer(8), batch_size=2, seed=0, xla=False,
    )  # fmt: skip
    target = agent.targets(transition([[0, 1], [1, 0]]))
    # Q' of the legal ones: 5 + 6 + 1 and 2 * 7 + 8 + 1.
    np.testing.assert_allclose(target, [10 + 0.9 * 12, 20 + 0.9 * 23], rtol=1e-6)


def test_masked_epsilon_greedy():
    """Row 7: [0, .925, .025, .025, .025]."""
    n = 80_000
    legal = tf.constant([[False, True, True, True, True]])
    q = mask_parameters([[0.9, 1.0, 0.9, 0.1, -0.6]], legal)
    q, legal = tf.repeat(q, n, axis=0), tf.repeat(legal, n, axis=0)
    action = EpsilonGreedy(0.1)(q, 0, [0, 1], legal=legal)
    share = np.bincount(action, minlength=5) / n
    assert share[0] == 0.0
    np.testing.assert_allclose(share, [0, 0.925, 0.025, 0.025, 0.025], atol=0.004)
    boltzmann = Boltzmann(1e-8 + 10.0)(q, 0, [0, 1], legal=legal)
    assert np.bincount(boltzmann, minlength=5)[0] == 0


def test_exploration_without_masks_draws_as_before():
    q = tf.zeros([1000, 5])
    plain = EpsilonGreedy(1.0)(q, 0, [3, 4])
    masked = EpsilonGreedy(1.0)(q, 0, [3, 4], legal=tf.ones([1000, 5], tf.bool))
    np.testing.assert_array_equal(plain, masked)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_masked_categorical(mode):
    """Row 8, [.5, 0, .5]; log-probability, entropy, divergence, gradient."""
    head, logits = Categorical(3), tf.constant([[100.0, 100.0, 100.0]])
    legal = tf.constant([[True, False, True]])

    def numbers(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            masked = mask_parameters(logits, legal)
            other = mask_parameters(logits * 0.01 + [[0.0, 7.0, 1.0]], legal)
            entropy, kl = head.entropy(masked), head.kl(masked, other)
            total = head.log_prob(masked, [0]) + entropy + kl
        return tf.nn.softmax(masked), entropy, kl, tape.gradient(total, logits)

    if mode != "eager":
        numbers = tf.function(numbers, jit_compile=mode == "xla", autograph=False)
    p, entropy, kl, gradient = numbers(logits)
    np.testing.assert_allclose(p, [[0.5, 0.0, 0.5]])
    np.testing.assert_allclose(entropy, [np.log(2)], rtol=1e-6)
    q = 1 / (1 + np.e)
    np.testing.assert_allclose(
        kl, [-0.5 * np.log(2 * q) - 0.5 * np.log(2 * (1 - q))], rtol=1e-5
    )
    assert gradient[0, 1] == 0.0
    # Of the log-probability 1 - p; of the entropy 0 where p is even; of the divergence
    # p (1 - p) log(q2 / q0), with q2 / q0 = e, and -0.01 (p - q) by the other logits.
    expected = 0.5 + 0.25 - 0.01 * (0.5 - q)
    np.testing.assert_allclose(gradient[0, 0], expected, rtol=1e-5)
    drawn = head.sample(tf.repeat(mask_parameters(logits, legal), 1000, 0), [0, 1])
    assert set(drawn.numpy()) == {0, 2}


def test_masked_multi_categorical():
    head = MultiCategorical([2, 3])
    legal = [[True, False, False, True, True]]
    masked = mask_parameters([[0.0, 9.0, 9.0, 1.0, 1.0]], legal)
    np.testing.assert_array_equal(head.mode(masked), [[0, 1]])
    np.testing.assert_allclose(head.entropy(masked), [np.log(2)], rtol=1e-6)
    drawn = head.sample(tf.repeat(masked, 200, 0), [0, 1]).numpy()
    assert set(drawn[:, 0]) == {0}
    assert set(drawn[:, 1]) == {1, 2}


def test_a_row_without_legal_actions_makes_no_nan():
    """The observation after the end of an episode; nobody acts on it."""
    masked = mask_parameters([[1.0, 2.0]], [[False, False]])
    head = Categorical(2)
    assert np.isfinite(head.entropy(masked)).all()
    assert np.isfinite(head.log_prob(masked, [1])).all()


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "xla"),
    [
        (DQN, False),
        pytest.param(DQN, True, marks=pytest.mark.long),
        pytest.param(PPO, True, marks=pytest.mark.long),
    ],
)
def test_no_mine_is_touched_and_the_optimum_is_found(kind, xla):
    """A mine's reward is NaN, which `fit` raises."""
    agent = kind.for_env(Minefield(8), xla=xla, **SMALL, **SETTINGS[kind])
    agent.fit(Minefield(8), steps=6144 if kind is PPO else 2048, epochs=2, verbose=0)
    assert agent.evaluate(Minefield(8), episodes=16)["return"] > 0.95 * STEPS
    explored = agent.evaluate(Minefield(8), episodes=16, greedy=False)["return"]
    assert np.isfinite(explored)
    mines = {"observation": [[0.0, 0.0]] * 64, "action_mask": [[0, 0, 1, 1]] * 64}
    for training in (False, True):
        assert {*agent.act(mines, training=training).tolist()} <= {2, 3}
    np.testing.assert_array_equal(
        agent.policy(_batch(mines))["action"], agent.act(mines)
    )


def _batch(mines):
    dtypes = {"observation": np.float32, "action_mask": np.int8}
    return {key: np.asarray(rows, dtypes[key]) for key, rows in mines.items()}


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (A2C, {}),
        (Reinforce, SETTINGS[Reinforce]),
        (QActorCritic, {}),
        (TRPO, {"rollout_length": 32, "batch_size": 64}),
        (RND, {}),
        (A3C, {"workers": 2}),
        (A2C, {"recurrent": "lstm", "recurrent_units": 8}),
        (DQN, {"learning_starts": 64, "recurrent": "gru", "sequence_length": 4}),
        (DiscreteSAC, {"learning_starts": 64, "batch_size": 16}),
        (Rainbow, SETTINGS[Rainbow]),
        (DQN, {"learning_starts": 64, "exploration": "boltzmann"}),
        (DQN, {"learning_starts": 64, "munchausen": 0.9}),
        (DQN, {"learning_starts": 64, "distribution": "implicit_quantile"}),
    ],
)
def test_others_touch_no_mine(kind, settings):
    agent = kind.for_env(Minefield(8), **SMALL, **settings)
    agent.fit(Minefield(8), steps=2048, epochs=2, verbose=0)
    assert np.isfinite(agent.evaluate(Minefield(8), greedy=False)["return"])


class _Random(Greedy):
    """A user's exploration that knows of no masks."""

    def __call__(self, q_values, env_steps, seed):
        return tf.zeros([q_values.shape[0]], tf.int32)


def test_a_users_exploration_that_knows_of_no_masks_is_corrected():
    agent = DQN.for_env(
        Minefield(2), hidden=(4,), seed=0, xla=False, exploration=_Random(),
        learning_starts=1,
    )  # fmt: skip
    outputs = PolicyOutputs(
        mask_parameters([[5.0, 1.0, 3.0, 4.0]] * 2, [[0, 1, 1, 1], [1, 1, 0, 0]]),
        None, (),
    )  # fmt: skip
    action = agent.choose(outputs, tf.constant([0, 1]), tf.constant(10, tf.int64))
    np.testing.assert_array_equal(action, [3, 0])


@pytest.mark.parametrize(
    ("action_space", "num_actions", "message"),
    [
        (spaces.Discrete(3), 4, r"shape \(3,\), one number for each action"),
        (spaces.Box(-1, 1, [2]), 2, r"Discrete or MultiDiscrete actions alone"),
    ],
)
def test_masks_that_do_not_fit_are_refused(action_space, num_actions, message):
    class World(Minefield):
        def __init__(self, num_envs=1):
            super().__init__(num_envs)
            inner = self.observation_space["observation"]
            mask = spaces.MultiBinary(num_actions)
            self.action_space = action_space
            self.observation_space = spaces.Dict(
                {"observation": inner, "action_mask": mask}
            )

    with pytest.raises(ValueError, match=message):
        PPO.for_env(World(), seed=0)


@keras.saving.register_keras_serializable(package="tests")
class _Forgetful(PPO):
    """Overrides `forward` and forgets the mask."""

    def forward(self, observation, policy_state=(), training=False, seed=None):
        parameters, value = self.network(self.normalized(observation))
        return PolicyOutputs(parameters, value[:, 0], policy_state)


def test_a_forward_that_forgets_the_mask_is_refused():
    with pytest.raises(ValueError, match=r"`forward` of _Forgetful to leave out illeg"):
        _Forgetful.for_env(Minefield(2), seed=0)
