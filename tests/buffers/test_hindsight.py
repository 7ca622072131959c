"""Goals that were reached: which, from which steps, with which rewards."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.agents import DQN, SAC
from kerasrl2.buffers import HindsightReplayBuffer
from kerasrl2.envs.goals import BitFlip
from tests.training.test_resume import assert_same, interrupted, uninterrupted

SEED = tf.constant([1, 2])


class Judge:
    """Says that a goal is reached where it is equal, as an environment would."""

    in_graph = True

    def goal_reward(self, achieved, desired):
        reached = tf.reduce_all(achieved == desired, axis=-1)
        return tf.cast(reached, tf.float32) - 1.0, reached


def observation(*steps):
    """Of each environment: what was achieved is `[column, step]`, the goal -1."""
    achieved = np.float32([[column, step] for column, step in enumerate(steps)])
    return {
        "achieved_goal": achieved,
        "desired_goal": np.full_like(achieved, -1.0),
        "observation": achieved,
    }


def filled(lengths, capacity=64, **options):
    """A buffer of two environments whose episodes have these lengths, in turns.

    Steps of a column count from 1; the last episode goes on.
    """
    buffer = HindsightReplayBuffer(capacity, num_envs=2, gamma=0.5, seed=0, **options)
    buffer.use_goals_of(Judge())
    ends, now = np.cumsum(lengths, axis=1), np.array([0, 0])
    for _ in range(ends.max()):
        ended = [now[c] + 1 in ends[c][:-1] for c in range(2)]
        valid = now < ends[:, -1]
        buffer.add(
            observation(*now), now % 7, [-1.0, -1.0], [False, False], ended,
            observation(*(now + 1)), valid=valid,
        )  # fmt: skip
        now = now + valid
        # The next episode begins elsewhere: its first observation is another.
        now = np.where(ended, now + 100, now)
        ends = np.where(np.array(ended)[:, None], ends + 100, ends)
    return buffer


LENGTHS = [[3, 5, 4], [2, 2, 6]]


def episodes_of(buffer):
    """Pairs of column and first and last achieved step, by transition index."""
    found = {}
    for column in range(2):
        numbers = range(int(buffer._ring.counts()[column]))
        steps = [
            float(buffer.get([n * 2 + column]).next_observation["achieved_goal"][0, 1])
            if bool(buffer.holds([n * 2 + column])[0])
            else None
            for n in numbers
        ]
        for n in numbers:
            if steps[n] is None:
                continue
            first = last = n
            while first and steps[first - 1] == steps[first] - 1:
                first -= 1
            while last + 1 < len(steps) and steps[last + 1] == steps[last] + 1:
                last += 1
            found[n * 2 + column] = column, steps[first], steps[n], steps[last]
    return found


@pytest.mark.parametrize("strategy", ["future", "final", "episode"])
@pytest.mark.parametrize("capacity", [64, 12])
def test_goals_are_those_reached_in_the_same_episode(strategy, capacity):
    buffer = filled(LENGTHS, capacity, strategy=strategy, num_goals=3)
    known = episodes_of(buffer)
    index, batch = buffer.sample(2000, SEED)
    goal = batch.observation["desired_goal"].numpy()
    np.testing.assert_array_equal(goal, batch.next_observation["desired_goal"])
    changed = goal[:, 1] >= 0
    assert abs(changed.mean() - 0.75) < 0.05
    chosen = {}
    for i, (column, step) in zip(index.numpy()[changed], goal[changed], strict=True):
        of, first, now, last = known[i]
        allowed = {
            "future": (now, last),
            "final": (last, last),
            "episode": (first, last),
        }
        low, high = allowed[strategy]
        assert (column, low <= step <= high) == (of, True)
        chosen.setdefault(i, set()).add(step - low)
    for i, offsets in chosen.items():  # and each of them is
        _, first, now, last = known[i]
        span = {"future": last - now, "final": 0, "episode": last - first}[strategy]
        assert offsets == set(range(int(span) + 1))


def test_rewards_and_ends_are_those_of_the_new_goals():
    buffer = filled(LENGTHS, num_goals=4)
    _, batch = buffer.sample(500, SEED)
    achieved = batch.next_observation["achieved_goal"].numpy()
    goal = batch.observation["desired_goal"].numpy()
    reached = (achieved == goal).all(axis=1)
    assert 0.2 < reached.mean() < 0.8
    np.testing.assert_array_equal(batch.reward, np.where(reached, 0.0, -1.0))
    np.testing.assert_array_equal(batch.discount, np.where(reached, 0.0, 0.5))
    np.testing.assert_array_equal(
        batch.observation["observation"][:, 0], achieved[:, 0]
    )


@pytest.mark.long
@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.long)])
def test_modes_agree(xla):
    buffer = filled(LENGTHS)
    eager = tf.nest.flatten(buffer.sample(64, SEED))
    compiled = tf.function(lambda: buffer.sample(64, SEED), jit_compile=xla)
    for a, b in zip(eager, tf.nest.flatten(compiled()), strict=True):
        np.testing.assert_array_equal(a, b)


def test_large_observations_are_stored_once_and_relabelled_alike():
    small = filled(LENGTHS)
    large = HindsightReplayBuffer(64, num_envs=2, gamma=0.5, seed=0)
    large.use_goals_of(Judge())
    wide = {"observation": np.zeros([2, 400], np.float32)}
    for t in range(6):
        ended = [t == 2, t == 3]
        rows = observation(t, t) | wide, observation(t + 1, t + 1) | wide
        large.add(rows[0], [0, 0], [-1.0, -1.0], ended, ended, rows[1])
    assert not large.layout.flat
    assert small.layout.flat
    index, batch = large.sample(400, SEED)
    goal = batch.observation["desired_goal"].numpy()
    for i, (column, step) in zip(index.numpy(), goal, strict=True):
        if step >= 0:
            number, of = divmod(i, 2)
            cut = 3 if of == 0 else 4
            last = cut if number < cut else 6
            assert (column, number + 1 <= step <= last) == (of, True)


def test_config_and_bad_input():
    buffer = HindsightReplayBuffer(64, strategy="final", num_goals=2, gamma=0.9, seed=5)
    copy = HindsightReplayBuffer.from_config(buffer.get_config())
    assert copy.get_config() == buffer.get_config()
    assert (copy.strategy, copy.num_goals) == ("final", 2)
    with pytest.raises(ValueError, match=r"one of: future, final, episode.*'futur'"):
        HindsightReplayBuffer(64, strategy="futur")
    with pytest.raises(ValueError, match=r"'achieved_goal' and 'desired_goal'.*one"):
        DQN.for_env("CartPole-v1", hindsight="future").loop_on("CartPole-v1")
    with pytest.raises(ValueError, match=r"`hindsight` alone.*n_step=3"):
        DQN.for_env(BitFlip(num_bits=3), hindsight="future", n_step=3)
    with pytest.raises(ValueError, match="without hindsight, with a recurrent"):
        filled(LENGTHS).sequences([0], length=2)
    unasked = filled(LENGTHS)
    unasked.goal_reward = None
    with pytest.raises(ValueError, match=r"use_goals_of\(env\)"):
        unasked.sample(4, SEED)


def test_an_environment_that_does_not_say():
    agent = DQN.for_env(BitFlip(num_bits=3), hindsight="future")
    env = BitFlip(num_bits=3)
    env.goal_reward = super(BitFlip, env).goal_reward
    with pytest.raises(ValueError, match=r"goal_reward.*compute_reward.*BitFlip-3"):
        agent.fit(env, steps=1200, epochs=1, verbose=0)


@pytest.mark.long
def test_a_gymnasium_environment_is_asked(goal_world):
    agent = SAC.for_env(
        goal_world, hindsight="future", hidden=(4,), learning_starts=8, batch_size=8,
        buffer_size=64, seed=0,
    )  # fmt: skip
    history = agent.fit(goal_world, steps=24, epochs=1, verbose=0).history
    assert np.isfinite(history["critic_loss"]).all()
    _, batch = agent.buffer.sample(256, SEED)
    gap = batch.next_observation["achieved_goal"] - batch.observation["desired_goal"]
    near = np.abs(gap.numpy()[:, 0]) < 0.1
    np.testing.assert_array_equal(batch.reward, np.where(near, 0.0, -1.0))
    assert 0.0 < near.mean() < 1.0


@pytest.fixture
def goal_world():
    """A point on a line, and where it is to be; as Gymnasium-Robotics has them."""
    import gymnasium
    from gymnasium import spaces

    box = spaces.Box(-2.0, 2.0, [1])

    class Line(gymnasium.Env):
        observation_space = spaces.Dict(
            dict.fromkeys(["achieved_goal", "desired_goal", "observation"], box)
        )
        action_space = spaces.Box(-1.0, 1.0, [1])

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.at, self.goal = self.np_random.uniform(-1, 1, [2, 1]).astype("f4")
            self.steps = 0
            return self.seen(), {}

        def step(self, action):
            self.at = np.clip(self.at + 0.3 * action, -2, 2).astype("f4")
            self.steps += 1
            reward = self.compute_reward(self.at[None], self.goal[None], {})[0]
            return self.seen(), float(reward), False, self.steps >= 10, {}

        def seen(self):
            return {
                "achieved_goal": self.at, "desired_goal": self.goal,
                "observation": self.at,
            }  # fmt: skip

        def compute_reward(self, achieved, desired, info):
            near = np.abs(achieved - desired)[:, 0] < 0.1
            return near.astype(np.float32) - 1.0

    return Line


@pytest.mark.long
def test_a_fetch_task_of_gymnasium_robotics():
    pytest.importorskip("gymnasium_robotics")
    env_id = "gymnasium_robotics:FetchReach-v4"
    try:
        envs.make(env_id).close()
    except AssertionError as error:  # of 1.4.2 with MuJoCo 4
        pytest.skip(f"Gymnasium-Robotics cannot make it here: {error!r}")
    agent = SAC.for_env(
        env_id, hindsight="future", hidden=(8,), learning_starts=60, batch_size=16,
        buffer_size=256, seed=0,
    )  # fmt: skip
    agent.fit(env_id, steps=120, epochs=1, verbose=0)
    _, batch = agent.buffer.sample(256, SEED)
    ends = batch.next_observation["achieved_goal"], batch.observation["desired_goal"]
    near = np.linalg.norm(ends[0] - ends[1], axis=1) < 0.05
    np.testing.assert_array_equal(batch.reward, np.where(near, 0.0, -1.0))
    assert 0.0 < near.mean() < 1.0
    assert "success_rate" in agent.evaluate(
        env_id, episodes=2, info_keys=("is_success",)
    )


@pytest.mark.long
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path):
    settings = {"hindsight": "future", "xla": False}
    whole = uninterrupted("dqn", "BitFlip-15", 300, **settings)
    resumed, again = interrupted(
        "dqn", "BitFlip-15", tmp_path, 300, 140, every=20, **settings
    )
    assert_same(whole, resumed, again)
