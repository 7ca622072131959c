"""Tests of `kerasrl2.agents.intrinsic`: intrinsic rewards of actor-critic agents."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import kerasrl2 as krl
from kerasrl2.agents import A2C, PPO, RND, intrinsic, random_network_distillation
from kerasrl2.agents.shares import shares_of
from kerasrl2.distributions import Categorical
from kerasrl2.layers import RandomNetworkDistillation, actor_critic, mlp
from kerasrl2.types import IntrinsicBatch, OnPolicyBatch, Rollout
from tests import newcomers
from tests.agents.harness import SEED
from tests.agents.images import Images
from tests.agents.nested_worlds import Minefield
from tests.newcomers.recurrent_ppo import RecurrentPPO
from tests.training.worlds import Scripted

newcomers.forget()  # what importing one has registered

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
SMALL = {"hidden": (8,), "num_envs": 4, "rollout_length": 16, "seed": 0, "xla": False}
BONUS = {"hidden": (8,), "num_features": 4, "priming_steps": 0}


def make_bonus(features=(1.0, 1.0, 1.0), **settings):
    """Pays the sum of the squares of `features`, whatever it is shown."""
    networks = []
    for bias in (features, np.zeros(len(features))):
        dense = keras.layers.Dense(len(features), kernel_initializer="zeros")
        network = keras.Sequential([keras.Input([2]), dense])
        dense.bias.assign(np.asarray(bias, "f4"))
        networks.append(network)
    return RandomNetworkDistillation(*networks, **settings)


def make_agent(agent_class=A2C, bonus=None, **settings):
    """Logits, value and intrinsic value are linear in the two inputs."""
    inputs = keras.Input([2])
    sizes = (2, 1) if bonus is None else (2, 1, 1)
    outputs = [keras.layers.Dense(n, use_bias=False)(inputs) for n in sizes]
    network = keras.Model(inputs, outputs)
    weights = [[[0.0, np.log(3.0)], [0.0, 0.0]], [[0.0], [0.0]], [[0.5], [1.0]]]
    network.set_weights([np.array(w) for w in weights[: len(sizes)]])
    settings = {"optimizer": keras.optimizers.SGD(0.1), **settings}
    return agent_class(
        network, Categorical(2), intrinsic_reward=bonus, xla=False, **settings
    )


def make_rollout(reward, terminated=False, truncated=False, valid=True, seed=0):
    """Random observations; flags are arrays `[T, N]`, or one for all."""
    reward = np.asarray(reward, "f4")
    rng = np.random.default_rng(seed)
    observation = rng.normal(size=(*reward.shape, 2)).astype("f4")
    flags = [
        tf.constant(np.broadcast_to(flag, reward.shape))
        for flag in (terminated, truncated, valid)
    ]
    return Rollout(
        observation=tf.constant(observation),
        action=tf.zeros(reward.shape, tf.int32),
        reward=tf.constant(reward),
        terminated=flags[0],
        truncated=flags[1],
        valid=flags[2],
        next_observation=tf.constant(rng.normal(size=observation.shape), tf.float32),
        last_observation=tf.constant(
            rng.normal(size=observation.shape[1:]), tf.float32
        ),
    )


def prepared(agent, rollout):
    state = agent.initial_learner_state(rollout.reward.shape[1])
    return agent.prepare(rollout, state)


class TestAdvantages:
    def test_two_of_the_reward_and_one_of_the_bonus(self):
        """`A_ext` = 1 - 0, `A_int` = 3 + 0.5 V' - V with V = V' = 0: 2 + 3 = 5."""
        agent = make_agent(bonus=make_bonus(priming_steps=10), lambda_=1.0)
        agent.network.layers[-1].kernel.assign([[0.0], [0.0]])
        batch, _ = prepared(agent, make_rollout([[1.0]]))
        np.testing.assert_allclose(batch.intrinsic.reward, [3.0], rtol=1e-6)
        np.testing.assert_allclose(batch.advantage, [5.0], rtol=1e-6)
        agent.intrinsic_reward.intrinsic_coefficient = -1.0
        agent.intrinsic_reward.extrinsic_coefficient = 0.5
        batch, _ = prepared(agent, make_rollout([[1.0]]))
        np.testing.assert_allclose(batch.advantage, [0.5 - 3.0], rtol=1e-6)

    @pytest.mark.parametrize(
        ("lambda_", "n_step", "share"),
        [(0.7, None, 1.0), (0.0, None, 0.85), (1.0, None, 0.85), (0.7, 2, 1.0)],
    )
    def test_against_a_loop_that_knows_no_ends(self, lambda_, n_step, share):
        """Rows that are no transitions are left out of it."""
        rng = np.random.default_rng(1)
        shape = 12, 3
        flags = rng.random((2, *shape)) < 0.2
        valid = rng.random(shape) < share
        valid[1:] |= ~valid[:-1]  # never two of them in a row
        valid[-1] = True
        rollout = make_rollout(rng.normal(size=shape), flags[0], flags[1], valid)
        bonus = make_bonus(gamma=0.8, priming_steps=99, extrinsic_coefficient=0.0)
        agent = make_agent(bonus=bonus, lambda_=lambda_, n_step=n_step)
        batch, _ = prepared(agent, rollout)
        own = batch.advantage.numpy().reshape(shape)
        targets = batch.intrinsic.target.numpy().reshape(shape)
        kernel = np.array([0.5, 1.0])
        value = rollout.observation.numpy() @ kernel
        last = rollout.last_observation.numpy() @ kernel
        for n in range(shape[1]):
            kept = np.flatnonzero(valid[:, n])
            values = np.append(value[kept, n], last[n])
            naive = naive_lambda if n_step is None else naive_n_step
            expected = naive(values, 3.0, 0.8, lambda_ if n_step is None else n_step)
            np.testing.assert_allclose(own[kept, n], expected, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(
                targets[kept, n], expected + values[:-1], rtol=1e-4, atol=1e-5
            )
        plain, _ = prepared(make_agent(lambda_=lambda_, n_step=n_step), rollout)
        np.testing.assert_allclose(batch.target, plain.target, rtol=1e-6)

    def test_rewards_bootstrap_from_truncated_states_as_ever(self):
        """One step each: terminated, truncated, neither; `gamma` 0.5."""
        flags = np.array([[True, False, False]]), np.array([[False, True, False]])
        rollout = make_rollout([[1.0, 1.0, 1.0]], *flags)
        bonus = make_bonus(priming_steps=9, intrinsic_coefficient=0.0)
        agent = make_agent(bonus=bonus, gamma=0.5)
        agent.network.layers[-2].kernel.assign([[1.0], [2.0]])
        kernel = np.array([1.0, 2.0])
        batch, _ = prepared(agent, rollout)
        after = rollout.next_observation[0].numpy() @ kernel
        following = rollout.last_observation.numpy() @ kernel
        expected = 1.0 + 0.5 * np.array([0.0, after[1], following[2]])
        np.testing.assert_allclose(batch.target, expected, rtol=1e-5)
        advantage = expected - rollout.observation[0].numpy() @ kernel
        np.testing.assert_allclose(batch.advantage, 2.0 * advantage, rtol=1e-4)

    def test_running_returns_go_on_from_rollout_to_rollout(self):
        """Bonus 3, `gamma` 0.5: 3, 4.5, 5.25, ..., whatever ends."""
        agent = make_agent(bonus=make_bonus(gamma=0.5, priming_steps=0))
        state = agent.initial_learner_state(1)
        for _ in range(2):
            rollout = make_rollout([[0.0], [0.0]], terminated=True)
            batch, state = agent.prepare(rollout, state)
        _, (running, _) = state
        np.testing.assert_allclose(running, [5.625], rtol=1e-6)
        deviation = np.std([3.0, 4.5, 5.25, 5.625])
        scaling = agent.intrinsic_reward.reward_scaling
        np.testing.assert_allclose(batch.intrinsic.reward, 3 / deviation, rtol=1e-5)
        assert float(scaling.count) == 4.0


def naive_lambda(values, reward, gamma, lambda_):
    advantage, later = np.zeros(len(values) - 1), 0.0
    for t in reversed(range(len(advantage))):
        delta = reward + gamma * values[t + 1] - values[t]
        advantage[t] = later = delta + gamma * lambda_ * later
    return advantage


def naive_n_step(values, reward, gamma, n):
    advantage = np.zeros(len(values) - 1)
    for t in range(len(advantage)):
        end = min(t + n, len(advantage))
        total = sum(reward * gamma ** (k - t) for k in range(t, end))
        advantage[t] = total + gamma ** (end - t) * values[end] - values[t]
    return advantage


def make_batch():
    """Two steps and a row that is none; intrinsic values 0.5, 1 and a junk 9."""
    data = tf.constant([[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    return OnPolicyBatch(
        observation=data,
        action=tf.constant([1, 0, 1]),
        log_prob=tf.math.log(tf.constant([0.75, 0.5, 0.5])),
        value=tf.zeros([3]),
        advantage=tf.constant([1.0, 2.0, 50.0]),
        target=tf.constant([2.0, 0.0, 50.0]),
        valid=tf.constant([True, True, False]),
        intrinsic=IntrinsicBatch(
            reward=tf.constant([3.0, 1.0, 50.0]),
            value=tf.constant([0.5, 0.5, 50.0]),
            target=tf.constant([1.5, 4.0, 50.0]),
            data=data,
        ),
    )


class TestLoss:
    @pytest.mark.parametrize(
        "agent_class", [A2C, pytest.param(PPO, marks=pytest.mark.long)]
    )
    def test_by_hand(self, agent_class, compiled):
        """`(1 + 9) / 4` of the second value, `3 / 3` of the predictor."""
        settings = {"normalize_advantages": False, "value_coefficient": 0.5}
        agent = make_agent(agent_class, make_bonus(), **settings)
        plain = make_agent(agent_class, **settings)
        loss, metrics = compiled(lambda b: agent.compute_loss(b, SEED))(make_batch())
        other, others = plain.compute_loss(make_batch()._replace(intrinsic=()), SEED)
        assert float(metrics["intrinsic_value_loss"]) == pytest.approx(2.5)
        assert float(metrics["predictor_loss"]) == pytest.approx(1.0)
        assert float(loss) == pytest.approx(float(other) + 0.5 * 2.5 + 1.0, rel=1e-6)
        for name, value in others.items():
            assert float(metrics[name]) == pytest.approx(float(value), rel=1e-6), name

    def test_the_clipped_value_loss_is_of_both_values(self):
        """Old values 0.5, range 0.1: the second would move by 0.5, to 0.6 at most."""
        agent = make_agent(PPO, make_bonus(), value_clip=0.1)
        _, metrics = agent.compute_loss(make_batch(), SEED)
        expected = (1.0**2 + (4.0 - 0.6) ** 2) / 4
        assert float(metrics["intrinsic_value_loss"]) == pytest.approx(expected)

    def test_who_gets_which_slope(self):
        """The bonus moves the predictor alone, values move their own outputs."""
        agent = make_agent(bonus=make_bonus(), max_gradient_norm=None)
        variables = agent.trainable_variables
        found = agent.compute_gradients(make_batch(), SEED).values
        slopes = {v.path: g.numpy() for v, g in zip(variables, found, strict=True)}
        bonus = agent.intrinsic_reward
        assert len(variables) == 3 + 2
        # (f_hat - f) 2 / 3 of each feature.
        bias = slopes[bonus.predictor.layers[-1].bias.path]
        np.testing.assert_allclose(bias, [2 / 3] * 3, rtol=1e-6)
        # c_v (V - y) x / 2 with V - y = -1 and -3.
        last = slopes[agent.network.layers[-1].kernel.path]
        np.testing.assert_allclose(last, [[-0.25], [-0.75]], rtol=1e-6)


def test_reports_means_of_the_valid_rows():
    agent = make_agent(bonus=make_bonus())
    found = intrinsic.report(agent, make_batch())
    assert float(found["intrinsic_reward"]) == 2.0
    # y - v is 1 and 3.5, y is 1.5 and 4: both of variance 1.5625.
    assert float(found["intrinsic_explained_variance"]) == pytest.approx(0.0)
    assert set(found) <= set(agent.report_names)
    assert intrinsic.report(make_agent(), make_batch()) == {}


@pytest.fixture(scope="module")
def trained():
    """`(agent, history, weights before of the target and of the predictor)`."""
    agent = RND.for_env("CartPole-v1", batch_size=32, priming_steps=0, **SMALL)
    bonus = agent.intrinsic_reward
    before = bonus.target.get_weights(), bonus.predictor.get_weights()
    history = agent.fit("CartPole-v1", steps=512, epochs=2, verbose=0).history
    return agent, history, before


@pytest.mark.long
class TestRuns:
    def test_the_target_stays_to_the_bit_and_the_predictor_learns(self, trained):
        agent, history, before = trained
        bonus = agent.intrinsic_reward
        for a, b in zip(bonus.target.get_weights(), before[0], strict=True):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(bonus.predictor.get_weights(), before[1], strict=True):
            assert (a != b).any()
        assert history["predictor_loss"][1] < history["predictor_loss"][0]
        names = {*intrinsic.OF_UPDATES, *intrinsic.OF_ROLLOUTS}
        assert names <= set(history)
        assert min(history["intrinsic_reward"]) > 0.0

    def test_steps_that_prime_count_and_teach_nothing_but_the_moments(self):
        """Three rollouts of 64 steps: the third is the first to be learned from."""
        agent = RND.for_env("CartPole-v1", batch_size=32, priming_steps=100, **SMALL)
        weights = [v.numpy() for v in agent.trainable_variables]
        history = agent.fit("CartPole-v1", steps=128, epochs=1, verbose=0).history
        assert history["env_steps"] == [128]
        assert int(agent.optimizer.iterations) == 0
        bonus = agent.intrinsic_reward
        assert int(bonus.seen) == 128
        assert float(bonus.observation_normalizer.count) == 128.0
        assert float(bonus.reward_scaling.count) == 0.0
        for variable, value in zip(agent.trainable_variables, weights, strict=True):
            np.testing.assert_array_equal(variable, value)
        names = "policy_loss", "explained_variance", "intrinsic_reward"
        assert np.isnan([history[name] for name in names]).all()
        agent.fit("CartPole-v1", steps=64, epochs=1, verbose=0)
        assert int(agent.optimizer.iterations) == agent.num_epochs * 64 // 32
        assert float(bonus.reward_scaling.count) == 64.0

    @pytest.mark.long
    def test_without_weight_the_policy_learns_as_without_a_bonus(self):
        """One gradient step, not clipped."""
        settings = {**SMALL, "num_epochs": 1, "batch_size": None}
        settings["max_gradient_norm"] = None
        bonus = {"intrinsic_coefficient": 0.0, "extrinsic_coefficient": 1.0, **BONUS}
        agents = [
            PPO.for_env("CartPole-v1", intrinsic_reward=reward, **settings)
            for reward in (bonus, None)
        ]
        shared = agents[1].network.get_weights()
        agents[0].network.set_weights([*shared, *agents[0].network.get_weights()[-2:]])
        for agent in agents:
            agent.fit("CartPole-v1", steps=64, epochs=1, verbose=0)
        actors = [shares_of(a.network, a.observation_spec).actor for a in agents]
        actors = [[v.numpy() for v in variables] for variables in actors]
        assert len(actors[0]) == len(actors[1]) == 4
        for a, b in zip(*actors, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
            assert all((a != w).any() for w in shared if w.shape == a.shape)

    @pytest.mark.long
    def test_masks_and_nested_observations(self):
        """An illegal action would end training; the bonus sees no mask."""
        agent = RND.for_env(Minefield(4), batch_size=32, priming_steps=0, **SMALL)
        assert agent.intrinsic_reward.predictor.inputs[0].shape == (None, 2)
        history = agent.fit(Minefield(4), steps=128, epochs=1, verbose=0).history
        assert np.isfinite(history["intrinsic_reward"]).all()
        assert int(agent.intrinsic_reward.seen) == 128

    @pytest.mark.long
    def test_pictures(self):
        settings = {**SMALL, "num_envs": 2, "rollout_length": 4}
        agent = A2C.for_env(Images, intrinsic_reward=BONUS, **settings)
        agent.fit(Images, steps=16, epochs=1, verbose=0)
        bonus = agent.intrinsic_reward
        assert float(bonus.observation_normalizer.count) == 16.0
        assert agent.observation_normalizer is None
        assert np.abs(bonus.normalized(np.zeros([1, 36, 36, 1], "u1"))).max() <= 5.0

    @pytest.mark.long
    def test_rows_that_are_no_transitions_count_for_nothing(self):
        """Junk in every fourth row, as with next-step resets."""
        env = Scripted([3], num_envs=2, next_step_reset=True, junk=1e6)
        settings = {**SMALL, "num_envs": 2, "rollout_length": 8}
        agent = A2C.for_env(env, intrinsic_reward=BONUS, **settings)
        history = agent.fit(env, steps=24, epochs=1, verbose=0).history
        bonus = agent.intrinsic_reward
        assert int(bonus.seen) == int(agent.env_steps)
        assert float(bonus.reward_scaling.count) == int(bonus.seen)
        assert float(np.max(bonus.observation_normalizer.mean)) < 1.0
        assert np.isfinite(history["loss"]).all()

    def test_a_loaded_agent_has_the_same_bonus(self, trained, tmp_path):
        agent = trained[0]
        agent.save(tmp_path / "agent.keras")
        loaded = krl.load_agent(tmp_path / "agent.keras")
        x = np.random.default_rng(0).normal(size=[5, 4]).astype("f4")
        np.testing.assert_array_equal(
            loaded.intrinsic_reward(x), agent.intrinsic_reward(x)
        )
        ours, theirs = agent.intrinsic_reward, loaded.intrinsic_reward
        for a, b in zip(ours.variables, theirs.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)
        assert ours.gamma == theirs.gamma
        np.testing.assert_array_equal(loaded.act(x), agent.act(x))
        np.testing.assert_array_equal(agent.policy(x)["action"], agent.act(x))


class TestErrors:
    def test_minibatches_hold_every_step_of_an_episode_of_seven(self, eager):
        """Nothing is dropped: what does not divide is refused before training."""
        env = Scripted([7])
        settings = {**SMALL, "num_envs": 1, "rollout_length": 7, "num_epochs": 1}
        agent = PPO.for_env(env, intrinsic_reward=BONUS, batch_size=4, **settings)
        with pytest.raises(
            ValueError, match=r"divide the rollout of 7.*Near it: \[1, 7"
        ):
            agent.fit(env, steps=7, epochs=1, verbose=0)
        agent = PPO.for_env(env, intrinsic_reward=BONUS, batch_size=None, **settings)
        agent.fit(env, steps=7, epochs=1, verbose=0)
        assert int(agent.intrinsic_reward.seen) == int(agent.env_steps) == 7

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("rdn", "`intrinsic_reward` as 'rnd', .*Received: 'rdn'"),
            (mlp((4,)), "`agents.random_network_distillation` makes one"),
            ({"gama": 0.9}, "gama"),
            ({"gamma": 2.0}, "`gamma`"),
        ],
    )
    def test_what_is_no_bonus(self, given, message):
        with pytest.raises((ValueError, TypeError), match=message):
            PPO.for_env("CartPole-v1", intrinsic_reward=given, **SMALL)

    def test_the_algorithm_makes_its_own_bonus(self):
        with pytest.raises(ValueError, match=r"one to `PPO\.for_env`"):
            RND.for_env("CartPole-v1", intrinsic_reward=None)

    def test_a_bonus_for_other_observations(self):
        bonus = random_network_distillation(spaces.Box(-1, 1, [3]))
        with pytest.raises(ValueError, match="takes one batch of observations"):
            PPO.for_env("CartPole-v1", intrinsic_reward=bonus, **SMALL)

    @pytest.mark.parametrize("third", [False, True])
    def test_networks(self, third):
        """Three outputs with a bonus, two without."""
        network = actor_critic((4,), 2, hidden=(8,), intrinsic_value=third)
        bonus = random_network_distillation(spaces.Box(-1, 1, [4]))
        settings = {"intrinsic_reward": None if third else bonus}
        with pytest.raises(ValueError, match="two" if third else "three outputs.*int"):
            PPO(network, Categorical(2), **settings)
        PPO(network, Categorical(2), intrinsic_reward=bonus if third else None)

    def test_the_constructor_takes_an_object(self):
        with pytest.raises(ValueError, match=r"`intrinsic_reward` as `layers.Random"):
            make_agent(bonus="rnd")

    def test_a_policy_that_remembers(self):
        bonus = random_network_distillation(spaces.Box(-1, 1, [4]))
        agent = RecurrentPPO.for_env(
            "CartPole-v1", units=4, intrinsic_reward=bonus, num_envs=2,
            rollout_length=4, batch_size=None,
        )  # fmt: skip
        with pytest.raises(ValueError, match="without memory with `intrinsic_reward`"):
            agent.fit("CartPole-v1", steps=8, epochs=1, verbose=0)
