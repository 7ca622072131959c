"""Env steps are rows that are transitions: how runs count, end, and report them."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.agents import A2C, DQN
from tests.training.worlds import Scripted

SMALL = {"hidden": (4,), "seed": 0, "xla": False}


def gaps(num_envs=3):
    """Some rows are no transitions: those after an episode's end."""
    return Scripted([2, 5, 3], num_envs, next_step_reset=True, junk=50.0)


def a2c(env, **settings):
    return A2C.for_env(env, rollout_length=4, **SMALL, **settings)


def dqn(env, **settings):
    settings = {"learning_starts": 10, "buffer_size": 200, **settings}
    return DQN.for_env(env, train_frequency=4, batch_size=4, **SMALL, **settings)


def counted(env, steps, iterations):
    """Valid rows after each iteration of `steps` steps, by a loop."""
    state, _ = env.reset(tf.constant([0, 0]))
    totals = [0]
    for _ in range(iterations):
        valid = 0
        for _ in range(steps):
            state, after = env.step(state, tf.zeros([env.num_envs], tf.int32), None)
            valid += int(np.sum(after.valid))
        totals.append(totals[-1] + valid)
    return totals[1:]


@pytest.mark.long
@pytest.mark.parametrize("make", [pytest.param(a2c, marks=pytest.mark.long), dqn])
def test_rows_that_are_no_transitions_do_not_count(make):
    agent = make(gaps())
    loop = agent.loop_on(gaps())
    expected = counted(gaps(), 4, 7)
    for number in (1, 2, 4):
        loop.run(number)
        total = expected[int(loop.carry.iteration) - 1]
        assert int(loop.carry.env_steps) == int(agent.env_steps) == total
    assert total < 7 * loop.steps_per_iteration == 7 * 4 * 3
    if make is dqn:
        assert int(agent.buffer.added()) == total


@pytest.mark.long
@pytest.mark.parametrize("make", [a2c, dqn])
def test_fit_ends_with_the_first_iteration_at_or_after_its_steps(make):
    """And so does each of its epochs; a second call goes on."""
    env = gaps()
    agent = make(env)
    totals = np.array(counted(env, 4, 40))
    start = 0
    for steps, epochs in [(72, 3), (50, 2), (1, 1)]:
        history = agent.fit(env, steps=steps, epochs=epochs, verbose=0).history
        ends = [start + (epoch + 1) * steps // epochs for epoch in range(epochs)]
        expected = [totals[np.argmax(totals >= end)] for end in ends]
        assert history["env_steps"] == expected
        start = int(agent.env_steps)
        assert start == expected[-1]
    iterations = int(agent.loop_on(env).carry.iteration)
    assert start == totals[iterations - 1]


@pytest.mark.long
def test_no_step_is_played_beyond_the_end_and_none_is_missing():
    """Though half a second would do for many more: 3 epochs of 8, 8 and 9 steps."""
    env = Scripted([3])
    agent = A2C.for_env(env, rollout_length=1, **SMALL)
    agent.loop_on(env).run(500)  # now it is known to be fast
    history = agent.fit(env, steps=25, epochs=3, verbose=0).history
    assert history["env_steps"] == [508, 516, 525]


@pytest.mark.long
@pytest.mark.parametrize("make", [a2c, dqn])
def test_what_was_played_may_be_set(make):
    """As `EarlyStopping` does, which puts back an agent of long ago."""
    env = Scripted([3])
    agent = make(env)
    agent.fit(env, steps=40, epochs=1, verbose=0)
    for start in (12, 1000):
        agent.env_steps.assign(start)
        before = int(agent.loop_on(env).carry.iteration)
        history = agent.fit(env, steps=40, epochs=2, verbose=0).history
        assert history["env_steps"] == [start + 20, start + 40]
        assert int(agent.loop_on(env).carry.iteration) - before == 10


def test_speed_is_of_steps_that_count():
    env = gaps()
    agent, seconds = a2c(env), []
    loop = agent.loop_on(env)
    run = loop.run

    def timed(*arguments, **keywords):
        report = run(*arguments, **keywords)
        seconds.append(int(loop.carry.env_steps))
        return report

    loop.run = timed
    clock = iter(np.arange(0.0, 1e4, 0.5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kerasrl2.training.fit.time.perf_counter", lambda: next(clock))
        history = agent.fit(env, steps=60, epochs=1, verbose=0).history
    made = int(agent.env_steps)
    assert history["steps_per_second"] == [made / (0.5 * len(seconds))]


# Whole episodes


class WholeEpisodes(A2C):
    """Learns from the first episode of each copy, and keeps what it was shown."""

    whole_episodes = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        shape = [self.rollout_length, self.num_envs]
        self.seen = tf.Variable(tf.zeros(shape, tf.bool), trainable=False)

    def prepare(self, rollout, learner_state):
        self.seen.assign(rollout.valid)
        return super().prepare(rollout, learner_state)


def whole(env, length=12, **settings):
    settings = {"num_envs": env.num_envs, "rollout_length": length, **settings}
    return WholeEpisodes.for_env(env, **SMALL, **settings)


@pytest.mark.parametrize(
    "next_step_reset", [False, pytest.param(True, marks=pytest.mark.long)]
)
def test_of_each_copy_the_first_episode_counts(next_step_reset):
    """Of 2, 5 and 3 steps; what is played until the longest has ended is not."""
    env = Scripted([2, 5, 3], 3, cut=1, next_step_reset=next_step_reset, junk=9.0)
    agent = whole(env)
    loop = agent.loop_on(env)
    assert loop.plays_less
    for iteration in (1, 2, 3):
        _, _, totals = loop.run(1)
        assert int(agent.env_steps) == 10 * iteration
        lengths = np.array([2, 5, 3])
        returns = np.sum(lengths + lengths * (lengths - 1) / 4)
        expected = np.array([3, returns, 10]) * iteration
        np.testing.assert_allclose(totals, expected)
        valid = np.arange(12)[:, None] < lengths
        np.testing.assert_array_equal(agent.seen, valid)


def test_an_episode_that_does_not_end_in_time_is_cut():
    """It counts as it is, and what it paid is not added to the one after it."""
    paid = sum(1.0 + 0.5 * t for t in range(12))
    env = Scripted([20, 3], 2, stride=0)
    env.lengths = tf.Variable(env.lengths, trainable=False)
    agent = whole(env, normalize_rewards=True)
    loop = agent.loop_on(env)
    _, _, totals = loop.run(1)
    assert totals.numpy().tolist() == [2, 4.5 + paid, 3 + 12]
    assert int(agent.env_steps) == 12 + 3
    env.lengths.assign([4, 3])
    _, _, totals = loop.run(1)
    assert totals.numpy().tolist() == [4, 4.5 + paid + 4.5 + 7.0, 3 + 12 + 3 + 4]
    assert int(agent.env_steps) == 15 + 7


def test_whole_episodes_end_epochs_by_env_steps():
    """Each iteration makes 10: of many small epochs some end in one of them."""
    env = Scripted([2, 5, 3], 3)
    agent = whole(env)
    history = agent.fit(env, steps=35, epochs=2, verbose=0)
    assert history.history["env_steps"] == [20, 40]
    history = agent.fit(env, steps=36, epochs=9, verbose=0)
    assert history.history["env_steps"] == [50, 60, 70, 80]
    # They would end after 4, 8, 12, ... more.
    assert history.epoch == [0, 2, 5, 7]
    assert history.history["episodes"] == [3.0] * 4
