"""Tests of `kerasrl2.training.on_policy`."""

import functools

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.agents import A2C, PPO
from kerasrl2.training.loop import has_convolutions
from kerasrl2.training.on_policy import OnPolicyLoop
from tests.envs.worlds import Chain5
from tests.training.worlds import Counter, Scripted, naive_episodes


def make_ppo(env, agent_class=PPO, **hyperparameters):
    settings = {"hidden": (8,), "rollout_length": 8, "batch_size": 8, "num_epochs": 2}
    settings |= {"learning_rate": 0.01, "seed": 0, "xla": False}
    return agent_class.for_env(env, **{**settings, **hyperparameters})


def first_rollout(loop):
    """The `Rollout` of a loop that has just been made."""
    return loop._play(loop._values(), tf.constant([0, 1]))[1]


def prepared(agent, rollout):
    """The batch that an agent makes of a first rollout."""
    state = agent.initial_learner_state(rollout.reward.shape[1])
    return agent.prepare(rollout, state)[0]


@pytest.fixture(
    scope="module",
    params=[False, pytest.param(True, marks=pytest.mark.long)],
    ids=["graph", "xla"],
)
def trained(request, no_programs):
    """A PPO after two fits of 3 and 2 epochs, its loop, and the histories."""
    agent = make_ppo("CartPole-v1", num_envs=2, xla=request.param)
    first = agent.fit("CartPole-v1", steps=96, epochs=3, verbose=0).history
    loop = agent.loop_on("CartPole-v1", 2)
    second = agent.fit("CartPole-v1", steps=64, epochs=2, verbose=0).history
    return agent, loop, [first, second]


RESULTS = {}  # of the runs below, by mode


class TestRuns:
    def test_is_traced_once_however_often_it_is_called(self, trained):
        agent, loop, _ = trained
        assert loop.num_traces == 1
        assert agent.loop_on("CartPole-v1", 2) is loop

    def test_another_structure_makes_another_loop_and_a_number_does_not(self, trained):
        agent, loop, _ = trained
        assert int(loop.carry.iteration) == 10
        agent.gamma, before = 0.5, agent.gamma
        assert agent.loop_on("CartPole-v1", 2) is loop
        agent.gamma = before
        agent.n_step = 3
        assert agent.loop_on("CartPole-v1", 2) is not loop
        agent.n_step = None

    def test_xla_and_graph_agree(self, trained):
        agent, loop, (first, second) = trained
        for name in ("return", "episode_length", "episodes", "env_steps"):
            assert len(first[name] + second[name]) == 5
        figures = [first[k] + second[k] for k in (*agent.metric_names, "return")]
        result = agent.get_weights(), figures, loop.carry
        for other in RESULTS.values():
            for own, theirs in zip(*map(tf.nest.flatten, (result, other)), strict=True):
                np.testing.assert_allclose(own, theirs, rtol=1e-3, atol=1e-4)
        RESULTS[loop] = result


@pytest.mark.long
def test_a_tensorflow_and_a_gymnasium_environment_teach_the_same():
    """`Chain-5` has no random numbers: the actions decide everything."""
    agents = [make_ppo("Chain-5", gamma=0.9) for _ in range(2)]
    in_graph = envs.make("Chain-5", num_envs=2, max_episode_steps=9)
    bridged = envs.make(lambda: gymnasium.wrappers.TimeLimit(Chain5(), 9), num_envs=2)
    first, second = (
        agent.fit(env, steps=160, epochs=1, verbose=0).history
        for agent, env in zip(agents, [in_graph, bridged], strict=True)
    )
    for a, b in zip(agents[0].weights, agents[1].weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert first["episodes"] == second["episodes"]
    assert first["return"] == second["return"]


def test_blocks_add_up_to_a_naive_recount():
    env = Scripted([1, 3, 7, 12], num_envs=3, cut=2)
    agent = A2C.for_env(env, hidden=(), seed=0, xla=False)
    loop = OnPolicyLoop(agent, env, seed=0, jit_compile=False)
    for size in (1, 2, 3, 1):
        _, _, totals = loop.run(size)
    finished = naive_episodes(env, 7 * agent.rollout_length)
    expected = [len(finished), *np.sum(finished, axis=0)]
    assert len(finished) > 12
    assert [float(total) for total in totals] == expected


@pytest.fixture(scope="module")
def trained_beside_junk():
    """Trains, for an `n_step`, two PPOs whose rows that do not count hold 0 and 50."""

    def train(junk, n_step):
        env = Scripted([2, 5, 3], 3, cut=2, next_step_reset=True, junk=junk)
        agent = make_ppo(
            env, normalize_observations=True, normalize_rewards=True, n_step=n_step
        )
        history = agent.fit(env, steps=96, epochs=2, verbose=0).history
        del history["steps_per_second"]
        return agent, history

    return functools.cache(lambda n_step: [train(junk, n_step) for junk in (0.0, 50.0)])


class TestRowsThatAreNoTransitions:
    @pytest.mark.long
    @pytest.mark.parametrize("n_step", [None, pytest.param(3, marks=pytest.mark.long)])
    def test_their_content_changes_nothing(self, trained_beside_junk, n_step):
        (agent, history), (other, other_history) = trained_beside_junk(n_step)
        assert history == other_history
        for a, b in zip(agent.weights, other.weights, strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.long
    def test_statistics_count_the_others(self, trained_beside_junk):
        agent, history = trained_beside_junk(None)[1]
        env = Scripted([2, 5, 3], 3, cut=2, next_step_reset=True)
        state, _ = env.reset(tf.constant([0, 0]))
        steps = num_valid = 0
        while num_valid < 96 or steps % 8:  # whole rollouts
            state, after = env.step(state, None, None)
            num_valid += int(tf.reduce_sum(tf.cast(after.valid, tf.int32)))
            steps += 1
        assert num_valid == history["env_steps"][-1] < 3 * steps
        assert sum(history["episodes"]) == len(naive_episodes(env, steps))
        for layer in (agent.observation_normalizer, agent.reward_scaling):
            assert float(layer.count) == pytest.approx(num_valid, abs=1e-3)

    @pytest.mark.parametrize("agent_class", [PPO, A2C])
    def test_update_equals_that_on_the_filtered_batch(self, agent_class):
        env = Scripted([2, 5, 3], 3, next_step_reset=True, junk=50.0)
        hyperparameters = {"hidden": (8,), "normalize_advantages": True, "xla": False}
        agents = [agent_class.for_env(env, seed=3, **hyperparameters) for _ in range(2)]
        loop = OnPolicyLoop(agents[0], env, seed=0, jit_compile=False)
        batch = prepared(agents[0], first_rollout(loop))
        assert 0 < tf.reduce_sum(tf.cast(batch.valid, tf.int32)) < len(batch.valid)
        kept = tf.nest.map_structure(lambda x: tf.boolean_mask(x, batch.valid), batch)
        seed = tf.constant([0, 1])
        metrics = agents[0].update(batch, seed)[0], agents[1].update(kept, seed)[0]
        for name in metrics[0]:
            np.testing.assert_allclose(*(m[name] for m in metrics), 1e-3, 1e-6)
        for a, b in zip(agents[0].weights, agents[1].weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


@keras.saving.register_keras_serializable(package="tests")
class Recorder(PPO):
    """Learns nothing; writes down which rows each update is shown."""

    metric_names = ("loss",)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.rows = tf.Variable(tf.fill([64, 8], -1.0), trainable=False)
        self.targets = tf.Variable(tf.zeros([64, 8]), trainable=False)
        self.actions = tf.Variable(tf.zeros([64, 8], tf.int32), trainable=False)
        self.counter = tf.Variable(0, trainable=False)

    def update(self, batch, seed):
        index = [[self.counter.value()]]
        self.rows.scatter_nd_update(index, batch.observation[None, :, 0])
        self.targets.scatter_nd_update(index, batch.target[None])
        self.actions.scatter_nd_update(index, batch.action[None])
        self.counter.assign_add(1)
        return {"loss": tf.zeros([])}, None


def test_every_row_is_used_once_an_epoch():
    """With `gamma` 0 the target is the reward: the number of the row itself."""
    env = Counter(num_envs=4)
    agent = make_ppo(
        env, Recorder, gamma=0.0, lambda_=0.0, num_epochs=3, rollout_length=12
    )
    loop = agent.loop(env)
    loop.run(2)
    assert int(agent.counter) == 2 * 3 * 48 // 8
    rows = agent.rows.numpy()[: int(agent.counter)]
    np.testing.assert_allclose(agent.targets[: len(rows)], rows, atol=1e-4)
    orders = rows.reshape(2, 3, 48)
    for iteration, order in enumerate(orders):
        expected = np.arange(48) + 48 * iteration
        for epoch in order:
            np.testing.assert_array_equal(np.sort(epoch), expected)
            assert not np.array_equal(epoch, expected)
    shuffles = {tuple(order % 48) for order in orders.reshape(6, 48)}
    assert len(shuffles) == 6  # each epoch, each rollout has an order of its own


def test_the_action_stays_beside_its_observation():
    env = Counter(num_envs=4)
    agent = make_ppo(env, Recorder, num_epochs=2)
    agent.loop(env).run(1)
    rows, actions = agent.rows.numpy()[:8], agent.actions.numpy()[:8]
    played = [
        dict(zip(rows[part].ravel(), actions[part].ravel(), strict=True))
        for part in (slice(0, 4), slice(4, 8))
    ]
    assert played[0] == played[1]
    assert set(played[0].values()) == {0, 1}


@pytest.mark.parametrize(
    ("batch_size", "near"), [(7, r"\[2, 4, 8\]"), (33, r"\[8, 16, 32\]")]
)
def test_a_minibatch_that_does_not_divide_the_rollout_is_refused(batch_size, near):
    agent = make_ppo("CartPole-v1", batch_size=batch_size, num_envs=4)
    with pytest.raises(
        ValueError, match=r"of 32 steps \(4 environments x 8\)"
    ) as error:
        agent.fit("CartPole-v1", steps=64, verbose=0)
    assert error.match(f"batch_size={batch_size}. Near it: {near}")


def test_a_convolutional_network_is_left_to_plain_graphs():
    dense = keras.Sequential([keras.Input([4]), keras.layers.Dense(2)])
    image = keras.Input([8, 8, 1])
    inner = keras.Sequential([keras.layers.Conv2D(2, 3), keras.layers.Flatten()])
    assert not has_convolutions(dense)
    assert has_convolutions(keras.Model(image, inner(image)))


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(A2C):
    def update(self, batch, seed):
        metrics, _ = super().update(batch, seed)
        del metrics["entropy"]
        return metrics, None


def test_an_update_that_forgets_a_metric_is_told():
    agent = Forgetful.for_env("Chain-5", hidden=(), xla=False)
    with pytest.raises(ValueError, match=r"`update` of Forgetful .*'entropy'"):
        agent.fit("Chain-5", steps=40, epochs=1, verbose=0)


class CountedDense(keras.layers.Dense):
    """Counts how often it is called; the tests run it eagerly."""

    calls = 0

    def call(self, inputs):
        CountedDense.calls += 1
        return super().call(inputs)


class Certain(PPO):
    """Plays 1 whatever the network says."""

    def choose(self, outputs, seed, env_steps):
        return tf.ones_like(super().choose(outputs, seed, env_steps))


class Contrary(PPO):
    """Plays what `choose` would not."""

    def choose(self, outputs, seed, env_steps):
        return 1 - super().choose(outputs, seed, env_steps)


class TestOutputsThatAreKept:
    """Without XLA a rollout's values and policies are from the passes that acted."""

    @staticmethod
    def rollout(agent, env):
        """A rollout, and the batches with what was kept and computed again."""
        loop = OnPolicyLoop(agent, env, seed=0, jit_compile=False)
        made = first_rollout(loop)
        forgotten = made._replace(parameters=None, value=None)
        return made, prepared(agent, made), prepared(agent, forgotten)

    @pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
    def test_are_what_would_be_computed_afterwards(self, env_id):
        env = envs.make(env_id)
        agent = make_ppo(env, rollout_length=16, normalize_observations=True)
        agent.set_weights([10 * weight for weight in agent.get_weights()])
        made, kept, again = self.rollout(agent, env)
        assert made.value.shape == (16, 1)
        for own, expected in zip(kept, again, strict=True):
            np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-6)
        for varied in (kept.value, kept.log_prob):
            assert np.std(varied) > 1e-3

    def test_cost_no_pass_of_their_own(self):
        env = envs.make("CartPole-v1", num_envs=2)
        inputs = keras.Input([4])
        x = CountedDense(8)(inputs)
        outputs = [keras.layers.Dense(2)(x), keras.layers.Dense(1)(x)]
        agent = make_ppo(env, network=keras.Model(inputs, outputs))
        loop = OnPolicyLoop(agent, env, seed=0, jit_compile=False)
        CountedDense.calls = 0
        made = first_rollout(loop)
        assert CountedDense.calls == agent.rollout_length
        prepared(agent, made)
        assert CountedDense.calls == agent.rollout_length + 1  # the last observation

    def test_with_xla_all_are_computed_at_once(self):
        env = envs.make("CartPole-v1", num_envs=2)
        made = first_rollout(OnPolicyLoop(make_ppo(env), env, 0, jit_compile=True))
        assert made.value is made.parameters is None

    def test_with_xla_and_many_environments_they_are_kept(self):
        env = envs.make("CartPole-v1", num_envs=64)
        made = first_rollout(OnPolicyLoop(make_ppo(env), env, 0, jit_compile=True))
        agent = make_ppo(env)
        kept, again = (
            prepared(agent, rollout)
            for rollout in (made, made._replace(parameters=None, value=None))
        )
        assert made.value.shape[1] == 64
        for own, expected in zip(kept, again, strict=True):
            np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-5)

    def test_an_own_policy_plays_and_the_network_is_scored(self):
        env = envs.make("CartPole-v1", num_envs=2)
        made, kept, again = self.rollout(make_ppo(env, Certain), env)
        assert np.all(made.action == 1)
        np.testing.assert_allclose(kept.log_prob, again.log_prob, rtol=1e-5)
        assert np.all(kept.log_prob < -0.1)

    def test_an_own_exploration_plays(self):
        env = envs.make("CartPole-v1", num_envs=2)
        usual, contrary = (
            self.rollout(make_ppo(env, agent_class), env)[0].action[0]
            for agent_class in (PPO, Contrary)
        )
        np.testing.assert_array_equal(contrary, 1 - usual)
