"""Tests of `kerasrl2.training.episodes`."""

import math

import numpy as np
import tensorflow as tf

from kerasrl2.training.episodes import (
    count_episodes,
    ended_episodes,
    in_order,
    mean_return_and_length,
    no_episodes,
    none_ended,
    zero_totals,
)
from kerasrl2.types import Rollout


def random_rollout(rng, num_steps, num_envs):
    """Flags and rewards in quarters, so that float sums are exact."""
    shape = (num_steps, num_envs)
    return Rollout(
        observation=None,
        action=None,
        reward=tf.constant(rng.integers(-8, 8, shape) / 4, tf.float32),
        terminated=tf.constant(rng.random(shape) < 0.2),
        truncated=tf.constant(rng.random(shape) < 0.2),
        valid=tf.constant(rng.random(shape) < 0.8),
        next_observation=None,
    )


def test_blocks_add_up_to_a_naive_recount(compiled):
    rng = np.random.default_rng(0)
    rollouts = [random_rollout(rng, 13, 5) for _ in range(4)]
    count = compiled(count_episodes)
    running, sums = no_episodes(5), zero_totals()
    for rollout in rollouts:
        running, totals = count(rollout, running)
        sums += totals

    finished, returns, lengths = [], np.zeros(5), np.zeros(5)
    for rollout in rollouts:
        for t in range(13):
            for i in range(5):
                if rollout.valid[t, i]:
                    returns[i] += rollout.reward[t, i]
                    lengths[i] += 1
                    if rollout.terminated[t, i] or rollout.truncated[t, i]:
                        finished.append((returns[i], lengths[i]))
                        returns[i] = lengths[i] = 0
    assert len(finished) > 20
    expected = [len(finished), *np.sum(finished, axis=0)]
    np.testing.assert_array_equal([float(total) for total in sums], expected)
    np.testing.assert_array_equal(running.returns, returns)
    np.testing.assert_array_equal(running.lengths, lengths)


def test_a_step_that_both_terminates_and_truncates_ends_one_episode():
    one = tf.ones([1, 1], tf.bool)
    rollout = Rollout(None, None, tf.fill([1, 1], 3.0), one, one, one, None)
    running, totals = count_episodes(rollout, no_episodes(1))
    assert [float(total) for total in totals] == [1.0, 3.0, 1.0]
    assert float(running.returns[0]) == 0.0


def test_means_are_nan_when_no_episode_ended():
    means = mean_return_and_length(zero_totals())
    assert math.isnan(means["return"])
    assert math.isnan(means["episode_length"])
    assert means["episodes"] == 0.0
    assert mean_return_and_length(tf.constant([4.0, 10.0, 20.0])) == {
        "return": 2.5,
        "episode_length": 5.0,
        "episodes": 4.0,
    }


def test_ended_episodes_are_those_of_the_recount(compiled):
    """Each where its last step is; in order they are what a loop over all finds."""
    rng = np.random.default_rng(1)
    rollouts = [random_rollout(rng, 13, 5) for _ in range(3)]
    of_rollout, count = compiled(ended_episodes), compiled(count_episodes)
    running, found, sums = no_episodes(5), [], zero_totals()
    for rollout in rollouts:
        found += in_order(of_rollout(rollout, running))
        running, totals = count(rollout, running)
        sums += totals

    finished, returns, lengths = [], np.zeros(5), np.zeros(5, int)
    for rollout in rollouts:
        for t, i in np.ndindex(13, 5):
            if rollout.valid[t, i]:
                returns[i] += rollout.reward[t, i]
                lengths[i] += 1
                if rollout.terminated[t, i] or rollout.truncated[t, i]:
                    finished.append((returns[i], lengths[i]))
                    returns[i] = lengths[i] = 0
    assert found == finished
    np.testing.assert_array_equal(sums, [len(found), *np.sum(found, axis=0)])
    assert in_order(none_ended(13, 5)) == []
