"""Sequences of consecutive steps from replay buffers."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.buffers import PrioritizedReplayBuffer, ReplayBuffer
from kerasrl2.types import Rollout
from tests.harness import compiled_in_long_runs

GAMMA = 0.5


def filled(kind=ReplayBuffer, steps=13, capacity=20, num_envs=2, wide=1, invalid=()):
    """A buffer, and for each environment the list of all steps that it was given.

    Episodes take 3 and 4 steps; every second one is truncated. `wide` observations are
    stored once, in a ring of their own.
    """
    buffer = kind(capacity, num_envs, gamma=GAMMA, n_step=3)
    history = [[] for _ in range(num_envs)]
    clock = np.zeros(num_envs)
    lengths, time, episode = [3, 4], np.zeros(num_envs, int), np.zeros(num_envs, int)
    for t in range(steps):
        valid = np.array([(t, n) not in invalid for n in range(num_envs)])
        last = time + 1 >= [lengths[e % 2] for e in episode]
        cut = episode % 2 == 1
        observation = np.repeat(
            clock[:, None] + 100 * np.arange(num_envs)[:, None], wide, 1
        )
        action = {
            "action": np.int32(t * np.ones(num_envs)),
            "state": -observation[:, :1],
        }
        buffer.add(
            observation.astype("f4"),
            {"action": action["action"], "state": action["state"].astype("f4")},
            np.float32(clock), last & ~cut, last & cut,
            (observation + 1).astype("f4"), valid=valid,
        )  # fmt: skip
        for n in range(num_envs):
            if valid[n]:
                row = (
                    observation[n, 0],
                    t,
                    clock[n],
                    GAMMA * (not last[n] or cut[n]),
                    last[n],
                )
                history[n].append(row)
        clock += np.where(valid, np.where(last, 10, 1), 0)
        time = np.where(valid, np.where(last, 0, time + 1), time)
        episode += last & valid
    return buffer, history


@compiled_in_long_runs
@pytest.mark.parametrize("wide", [1, 300])
@pytest.mark.parametrize(
    "kind",
    [ReplayBuffer, pytest.param(PrioritizedReplayBuffer, marks=pytest.mark.long)],
)
def test_they_are_the_steps_in_order(compiled, kind, wide):
    """Of one environment, across the ends of episodes and of the ring's memory."""
    buffer, history = filled(kind, wide=wide)
    length = 5
    held = [n for n in range(26) if bool(buffer.holds([n])[0])]
    starts = tf.constant([*held, -1], tf.int64)
    weight = tf.range(1.0, len(starts) + 1.0)
    batch = compiled(lambda: buffer.sequences(starts, length, weight))()
    oldest = [int(n) for n in 13 - buffer.sizes().numpy()]
    seen = set()
    for row, start in enumerate(held):
        number, column = start // 2, start % 2
        first = max(min(number, 13 - length), oldest[column])
        for k in range(length):
            observation, action, reward, discount, ended = history[column][first + k]
            assert batch.observation[row, k, 0] == observation
            assert batch.next_observation[row, k, -1] == observation + 1
            assert batch.action["action"][row, k] == action
            assert batch.action["state"][row, k, 0] == -observation
            assert batch.reward[row, k] == reward
            assert batch.discount[row, k] == discount
            assert bool(batch.ended[row, k]) == (ended or k == length - 1)
            seen.add((bool(ended), float(discount)))
        assert batch.valid[row].numpy().all()
    assert seen == {(False, GAMMA), (True, GAMMA), (True, 0.0)}
    assert not batch.valid[-1].numpy().any()
    np.testing.assert_array_equal(batch.weight, weight)


def test_what_is_not_yet_there_is_not_valid():
    buffer, history = filled(steps=3)
    batch = buffer.sequences([2, 5], 5)
    assert batch.valid.numpy().tolist() == [[True] * 3 + [False] * 2] * 2
    assert batch.ended.numpy()[0].tolist() == [False, False, True, True, True]
    assert batch.reward[0, :3].numpy().tolist() == [row[2] for row in history[0]]
    assert batch.weight.numpy().tolist() == [1.0, 1.0]


def test_rows_that_were_not_stored_leave_no_hole():
    buffer, history = filled(steps=8, invalid={(2, 0), (4, 1)})
    batch = buffer.sequences([0, 1], 4)
    for column in range(2):
        actions = [row[1] for row in history[column][:4]]
        assert batch.action["action"][column].numpy().tolist() == actions


@pytest.mark.parametrize("wide", [1, 300])
def test_where_something_else_goes_on_an_episode_ends(wide):
    """An observation that is not the last successor begins another episode."""
    buffer = ReplayBuffer(10, gamma=GAMMA)
    for seen in (0.0, 1.0, 7.0, 8.0):
        now = np.full([1, wide], seen, "f4")
        buffer.add(now, [0], [1.0], [False], [False], now + 1)
    batch = buffer.sequences([0], 4)
    assert batch.ended.numpy().tolist() == [[False, True, False, True]]


@compiled_in_long_runs
def test_drawn_alike_they_cover_all_steps(compiled):
    """And a buffer that knows priorities draws their beginnings by these."""
    buffer, _ = filled()
    index, batch = compiled(lambda: buffer.sample(64, [0, 1]))()
    found = buffer.sequences(index, 3, batch.weight)
    assert found.action["action"].shape == [64, 3]
    assert {*found.action["action"].numpy().ravel().tolist()} >= {*range(4, 13)}


@pytest.mark.parametrize("length", [0, 1.5])
def test_a_length_that_is_none_is_refused(length):
    buffer, _ = filled()
    with pytest.raises(ValueError, match="`length`"):
        buffer.sequences([0], length)


def test_many_steps_at_once_are_stored_with_nests_of_actions():
    """As the loop stores them."""
    buffer = ReplayBuffer(10, 2, gamma=GAMMA)
    steps = np.arange(8, dtype="f4").reshape(4, 2)
    off = np.zeros([4, 2], bool)
    action = {"action": np.int32(steps), "policy_state": (steps[..., None],)}
    after = steps[..., None] + 2.0
    buffer.add_rollout(Rollout(steps[..., None], action, steps, off, off, None, after))
    batch = buffer.sequences([0, 1], 4)
    assert batch.action["policy_state"][0].numpy()[1, :, 0].tolist() == [1, 3, 5, 7]
    assert not batch.ended[:, :-1].numpy().any()
