"""Tests of `kerasrl2.training.off_policy`."""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.agents import DQN
from kerasrl2.errors import NonFiniteError
from tests.envs.worlds import Chain5
from tests.training.naive import naive_loop
from tests.training.worlds import Scripted, naive_episodes

LONG = pytest.mark.long
XLA_OR_NOT = [False, pytest.param(True, marks=LONG)]


def make_dqn(env, **hyperparameters):
    settings = {"hidden": (8,), "batch_size": 8, "learning_starts": 10, "seed": 0}
    settings |= {"buffer_size": 64, "target_update_interval": 3, "xla": False}
    settings |= {"gamma": 0.9, "learning_rate": 0.01}
    return DQN.for_env(env, **{**settings, **hyperparameters})


def documented_updates(steps, starts, num_envs, frequency, updates):
    size = frequency * num_envs
    return updates * max(0, steps // size - -(-starts // size))


@pytest.mark.long
@pytest.mark.parametrize(
    ("num_envs", "frequency", "updates", "starts"),
    [
        pytest.param(1, 1, 1, 10, marks=LONG),
        (4, 1, 2, 9),
        pytest.param(2, 3, 1, 1, marks=LONG),
        pytest.param(2, 3, 1, 6, marks=LONG),
        (2, 3, 1, 7),
        pytest.param(1, 4, 3, 10, marks=LONG),
        pytest.param(3, 2, 2, 1000, marks=LONG),
    ],
)
def test_makes_exactly_the_documented_updates(num_envs, frequency, updates, starts):
    env = Scripted([2, 5, 3], num_envs)
    agent = make_dqn(
        env, learning_starts=starts, train_frequency=frequency, gradient_steps=updates
    )
    loop = agent.loop_on(env)
    loop.run(7)
    loop.run(1)
    steps = 8 * frequency * num_envs
    expected = documented_updates(steps, starts, num_envs, frequency, updates)
    assert int(agent.optimizer.iterations) == expected
    assert int(agent.buffer.added()) == steps
    assert int(loop.carry.env_steps) == steps


@pytest.mark.parametrize(
    ("xla", "prioritized", "frequency"),
    [
        pytest.param(False, False, 1, marks=LONG),
        (False, True, 3),
        pytest.param(True, True, 1, marks=LONG),
    ],
)
def test_is_the_naive_loop(xla, prioritized, frequency):
    hyperparameters = {
        "prioritized": prioritized,
        "n_step": 2,
        "clip_rewards": 1.5,
        "seed": 3,
    }
    hyperparameters |= {"train_frequency": frequency, "xla": xla}
    agents = [make_dqn("CartPole-v1", **hyperparameters) for _ in range(2)]
    naive_loop(agents[0], envs.make("CartPole-v1", num_envs=2), 3, 30 // frequency)
    loop = agents[1].loop_on("CartPole-v1", num_envs=2)
    loop.run(30 // frequency)
    expected = documented_updates(60, 10, 2, frequency, 1)
    assert int(agents[1].optimizer.iterations) == expected
    for a, b in zip(agents[0].variables, agents[1].variables, strict=True):
        if a is not agents[0].env_steps:  # `fit` counts them
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=a.path)
    batches = [agent.buffer.get(np.arange(60)) for agent in agents]
    for a, b in zip(*map(tf.nest.flatten, batches), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("xla", XLA_OR_NOT)
def test_a_tensorflow_and_a_gymnasium_environment_teach_the_same(xla):
    """`Chain-5` has no random numbers: the actions decide everything."""
    in_graph = envs.make("Chain-5", num_envs=2, max_episode_steps=9)
    bridged = envs.make(lambda: gymnasium.wrappers.TimeLimit(Chain5(), 9), num_envs=2)
    hyperparameters = {
        "train_frequency": 2,
        "gradient_steps": 2,
        "noisy": True,
        "xla": xla,
    }
    agents = [make_dqn(in_graph, **hyperparameters) for _ in range(2)]
    histories = [
        agent.fit(env, steps=160, epochs=2, verbose=0).history
        for agent, env in zip(agents, [in_graph, bridged], strict=True)
    ]
    for a, b in zip(agents[0].variables, agents[1].variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=a.path)
    for name in ("return", "episodes", "env_steps"):
        assert histories[0][name] == histories[1][name]


@pytest.mark.long
@pytest.mark.parametrize("xla", XLA_OR_NOT)
def test_blocks_make_no_difference(xla, no_programs):
    """Bit for bit: how long a block is depends on the clock."""
    env = Scripted([2, 5, 3], 2)
    agents = [make_dqn(env, xla=xla, noisy=True, prioritized=True) for _ in range(2)]
    loops = [agent.loop_on(env) for agent in agents]
    loops[0].run(30)
    for size in (1, 12, 17):
        loops[1].run(size)
    for a, b in zip(agents[0].variables, agents[1].variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    for a, b in zip(*(tf.nest.flatten(loop.carry) for loop in loops), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [loop.num_traces for loop in loops] == [1, 0]  # one program for both


@pytest.mark.long
def test_counts_every_episode_once_and_unclipped():
    env = Scripted([1, 3, 7, 12], num_envs=3, cut=2)
    agent = make_dqn(env, clip_rewards=0.5)
    history = agent.fit(env, steps=120, epochs=2, verbose=0).history
    finished = naive_episodes(env, 40)
    total = np.sum(finished, axis=0)
    assert sum(history["episodes"]) == len(finished)
    returns = np.dot(history["return"], history["episodes"])
    assert returns == pytest.approx(total[0])
    assert float(tf.reduce_max(agent.buffer.get(np.arange(100, 120)).reward)) == 0.5


@pytest.mark.long
def test_rows_that_are_no_transitions_are_left_out():
    """Next-step autoreset: rows of junk enter neither buffer nor statistics.

    Nor are they counted as env steps.
    """
    results = []
    for junk in (0.0, 50.0):
        env = Scripted([2, 5, 3], 3, cut=2, next_step_reset=True, junk=junk)
        agent = make_dqn(env, normalize_observations=True)
        history = agent.fit(env, steps=90, epochs=1, verbose=0).history
        stored = int(agent.buffer.added())
        batch = agent.buffer.get(np.arange(stored - 20, stored))
        results.append([*history["return"], *history["episodes"], stored])
        assert 90 <= stored == history["env_steps"][-1]
        assert stored < 3 * int(agent.loop_on(env).carry.iteration)
        assert float(tf.reduce_max(batch.reward)) < 10.0
        statistics = agent.observation_normalizer.get_weights()
        results[-1] += np.concatenate([np.ravel(x) for x in statistics]).tolist()
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("xla", XLA_OR_NOT)
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("reward", marks=LONG),
        "next_observation",
        pytest.param("observation", marks=LONG),
    ],
)
def test_nothing_is_learned_from_nan(xla, kind):
    env = Scripted([2, 5, 3], 3, fault=(kind, 20, 1, float("nan")))
    agent = make_dqn(env, xla=xla)
    loop = agent.loop_on(env)
    loop.run(19)
    before = [np.array(v) for v in agent.variables]
    what = kind.removeprefix("next_")
    message = rf"{what} from environment 1 of 'Scripted' at its step 20 \(env step 60"
    with pytest.raises(NonFiniteError, match=message):
        loop.run(5)
    for variable, value in zip(agent.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert int(agent.buffer.added()) == 57
    for part in tf.nest.flatten(agent.buffer.get(np.arange(20, 57))):
        assert np.isfinite(part).all()


@pytest.mark.long
def test_a_bad_update_is_not_taken():
    class Spoiled(DQN):
        def compute_loss(self, batch, seed):
            loss, metrics = super().compute_loss(batch, seed)
            late = self.optimizer.iterations >= 5
            return loss * tf.where(late, float("nan"), 1.0), metrics

    env = Scripted([2, 5, 3])
    agent = Spoiled.for_env(env, hidden=(4,), learning_starts=10, seed=0, xla=False)
    with pytest.raises(NonFiniteError, match=r"loss while .* \(env step 16\)"):
        agent.fit(env, steps=64, epochs=1, verbose=0)
    assert int(agent.optimizer.iterations) == 5
    assert all(np.isfinite(w).all() for w in agent.get_weights())


@pytest.mark.long
def test_metrics_before_the_first_update_are_nan_and_later_means():
    env = Scripted([2, 5, 3])
    agent = make_dqn(env, learning_starts=40)
    history = agent.fit(env, steps=60, epochs=3, verbose=0).history
    assert np.isnan(history["loss"][:2]).all()
    assert np.isfinite(history["loss"][2])
    assert history["epsilon"][0] > history["epsilon"][2]


@pytest.mark.long
def test_a_second_fit_goes_on():
    env = Scripted([2, 5, 3])
    agents = [make_dqn(env) for _ in range(2)]
    agents[0].fit(env, steps=60, epochs=1, verbose=0)
    agents[1].fit(env, steps=25, epochs=1, verbose=0)
    agents[1].fit(env, steps=35, epochs=1, verbose=0)
    for a, b in zip(agents[0].variables, agents[1].variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


@pytest.mark.long
def test_beta_reaches_one_at_the_end_of_the_run():
    env = Scripted([2, 5, 3])
    agent = make_dqn(env, prioritized=True, beta=0.4)
    history = agent.fit(env, steps=60, epochs=2, verbose=0).history
    assert int(agent.optimizer.iterations) == 50
    assert history["beta"] == pytest.approx([0.4 + 0.6 * 20 / 50, 1.0])


@pytest.mark.parametrize("name", ["train_frequency", "gradient_steps", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_sizes_are_checked(name, value):
    with pytest.raises(ValueError, match=rf"`{name}` to be an integer >= 1"):
        make_dqn("Chain-5", **{name: value})


@pytest.mark.long
def test_a_buffer_built_for_another_number_of_environments_is_refused():
    agent = make_dqn("Chain-5")
    agent.fit("Chain-5", steps=4, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="num_envs=1"):
        agent.fit("Chain-5", steps=4, epochs=1, num_envs=2, verbose=0)


@pytest.fixture
def updates(monkeypatch):
    """Batches and metrics of all updates, in a loop that runs eagerly."""
    kept, update = [], DQN.update

    def kept_update(self, batch, seed):
        metrics, td_error = update(self, batch, seed)
        kept.append(tf.nest.map_structure(np.array, (batch, metrics, td_error)))
        return metrics, td_error

    monkeypatch.setattr(DQN, "update", kept_update)
    tf.config.run_functions_eagerly(True)
    yield kept
    tf.config.run_functions_eagerly(False)


@pytest.mark.long
def test_each_update_has_a_batch_of_its_own(updates):
    env = Scripted([20])
    agent = make_dqn(env, gradient_steps=3, learning_starts=17)
    agent.fit(env, steps=20, epochs=1, verbose=0)
    assert len(updates) == 9
    batches = {tuple(batch.observation[:, 1]) for batch, *_ in updates}
    assert len(batches) == 9


def test_metrics_are_means_over_the_updates_of_an_epoch(updates):
    env = Scripted([2, 5, 3])
    agent = make_dqn(env, gradient_steps=2)
    agent.q_network.get_layer("values").bias.assign([3.0, 3.0])  # too much at the ends
    history = agent.fit(env, steps=16, epochs=2, verbose=0).history
    assert np.isnan(history["loss"][0])
    assert len(updates) == 2 * 6
    for name in ("loss", "q_value", "gradient_norm"):
        values = [metrics[name] for _, metrics, _ in updates]
        assert history[name][1] == pytest.approx(np.mean(values), rel=1e-5)
    errors = np.stack([td_error for *_, td_error in updates])
    assert np.any(errors < 0)
    assert history["td_error"][1] == pytest.approx(np.abs(errors).mean(), rel=1e-5)


def test_a_cut_episode_goes_on_in_the_target_and_a_finished_one_does_not():
    """Episodes of two steps are terminated and truncated in turn."""
    env = Scripted([2], cut=2)
    agent = make_dqn(env, learning_starts=100)
    agent.fit(env, steps=8, epochs=1, verbose=0)
    stored = agent.buffer.get(np.arange(8))
    gamma = np.float32(0.9)
    ends = [gamma, 0.0, gamma, gamma]
    np.testing.assert_array_equal(stored.discount, ends + ends)
    time = 8.0 * stored.next_observation[:, 1]  # never that of the next start
    np.testing.assert_array_equal(time, [1, 2] * 4)


@pytest.mark.long
def test_statistics_are_of_the_observations_acted_on():
    env = Scripted([3])
    agent = make_dqn(env, normalize_observations=True, learning_starts=100)
    agent.fit(env, steps=6, epochs=1, verbose=0)
    normalizer = agent.observation_normalizer
    assert float(normalizer.count) == pytest.approx(6.0, abs=1e-3)
    mean = [0.0, (0 + 1 + 2) / 3, 0.5]  # copy, time in the episode, episode
    np.testing.assert_allclose(8.0 * normalizer.mean, mean, atol=1e-3)


@pytest.mark.long
def test_every_draw_counts_towards_beta_and_it_stays_at_one():
    env = Scripted([2, 5, 3])
    agent = make_dqn(env, prioritized=True, beta=0.4, gradient_steps=2)
    history = agent.fit(env, steps=60, epochs=2, verbose=0).history
    assert int(agent.optimizer.iterations) == 100
    assert history["beta"] == pytest.approx([0.4 + 0.6 * 20 / 50, 1.0])
    history = agent.fit(env, steps=120, epochs=2, verbose=0).history
    assert history["beta"] == [1.0, 1.0]


@pytest.mark.long
def test_another_environment_goes_on_at_the_steps_made():
    """Or schedules of exploration would begin anew."""
    env = Scripted([2, 5, 3])
    agent = make_dqn(env)
    agent.fit(env, steps=15, epochs=1, verbose=0)
    assert int(agent.loop_on(Scripted([4])).carry.env_steps) == 15


@pytest.mark.long
@pytest.mark.parametrize("step", [7, 8, 9])
def test_a_fault_is_found_at_any_step_of_an_iteration(step):
    """And is not forgotten by the steps after it; nothing of the iteration is kept."""
    when = tf.Variable(step, trainable=False)  # or each would be compiled
    env = Scripted([2, 5, 3], 2, fault=("reward", when, 1, float("nan")))
    agent = make_dqn(env, train_frequency=3, learning_starts=100)
    message = rf"1 of 'Scripted' at its step {step} \(env step {2 * step} of"
    with pytest.raises(NonFiniteError, match=message):
        agent.fit(env, steps=60, epochs=1, verbose=0)
    assert int(agent.buffer.added()) == int(agent.env_steps) == 2 * 6


@LONG
def test_where_xla_cannot_call_back_the_loop_is_a_graph(monkeypatch):
    """As on a GPU: parts are compiled, and the run is the same up to rounding."""
    agents = []
    for available in (True, False):
        monkeypatch.setattr("kerasrl2.envs._python.available", lambda x=available: x)
        env = envs.make(lambda: gymnasium.wrappers.TimeLimit(Chain5(), 9), num_envs=2)
        agent = make_dqn(env, train_frequency=2, prioritized=True, xla=True)
        assert agent.loop_on(env).compiles_environment == available
        agent.fit(env, steps=160, epochs=2, verbose=0)
        agents.append(agent)
    assert int(agents[0].optimizer.iterations) > 20
    for a, b in zip(agents[0].variables, agents[1].variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=a.path)
