"""One environment object with two users: no transition that never happened."""

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2 import callbacks, envs
from kerasrl2.agents import A2C, DQN

SETTINGS = {"hidden": (), "seed": 0, "xla": False}


class Clock(gymnasium.Env):
    """Observes `[episode, t]`; episodes of seven steps; counts on over all resets."""

    observation_space = spaces.Box(-np.inf, np.inf, [2], np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self):
        self.episode, self.closed = -1, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return self._show(), {}

    def step(self, action):
        self.t += 1
        return self._show(), 1.0, self.t == 7, False, {}

    def _show(self):
        return np.array([self.episode, self.t], np.float32)


def dqn(env, n_step):
    return DQN.for_env(
        env, buffer_size=200, learning_starts=10**6, n_step=n_step, **SETTINGS
    )


def false_transitions(agent, n_step):
    """Of all that the buffer holds, `(now, then)` that are not steps of one episode."""
    count = int(agent.buffer.added())
    sample = agent.buffer.get(np.arange(count), gamma=1.0)
    now, then = sample.observation.numpy(), sample.next_observation.numpy()
    steps = sample.reward.numpy()
    true = (now[:, 0] == then[:, 0]) & (now[:, 1] + steps == then[:, 1])
    assert (steps <= n_step).all()
    return list(zip(now[~true].tolist(), then[~true].tolist(), strict=True))


def moved_by_hand(world, agent):
    world.reset()
    world.step(0)


def moved_by_evaluation(world, agent):
    agent.evaluate(world, episodes=1)


def moved_by_another_agent(world, agent):
    A2C.for_env(world, **SETTINGS).fit(world, steps=3, epochs=1, verbose=0)


def moved_by_a_recording(world, agent):
    envs.make(gymnasium.wrappers.TimeLimit(world, 3)).reset(np.array([0, 1]))


MOVES = [
    moved_by_hand,
    pytest.param(moved_by_another_agent, marks=pytest.mark.long),
    pytest.param(moved_by_evaluation, marks=pytest.mark.long),
    pytest.param(moved_by_a_recording, marks=pytest.mark.long),
]


@pytest.mark.long
@pytest.mark.parametrize("n_step", [1, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize("move", MOVES)
def test_moved_between_two_fits(move, n_step):
    world = Clock()
    agent = dqn(world, n_step)
    agent.fit(world, steps=11, epochs=1, verbose=0)
    move(world, agent)
    with pytest.warns(UserWarning, match="Clock was reset or stepped by others"):
        history = agent.fit(world, steps=12, epochs=1, verbose=0)
    assert false_transitions(agent, n_step) == []
    assert int(agent.buffer.added()) == int(agent.env_steps) == 23
    # The cut episode is not counted: of 12 steps the first 7 are an episode.
    assert history.history["episodes"] == [1.0]
    assert history.history["episode_length"] == [7.0]


def test_moved_by_nobody_goes_on_where_it_stopped():
    world = Clock()
    agent = dqn(world, 1)
    agent.fit(world, steps=11, epochs=1, verbose=0)
    episodes = world.episode
    agent.fit(world, steps=2, epochs=1, verbose=0)
    assert (world.episode, world.t) == (episodes, 6)


@pytest.mark.long
def test_moved_by_callbacks_within_a_fit():
    world = Clock()
    agent = dqn(world, 3)
    by_hand = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: moved_by_hand(world, agent)
    )
    evaluation = callbacks.EvaluateReturn(world, episodes=1)
    for callback in (by_hand, evaluation):
        with pytest.warns(UserWarning, match="reset or stepped by others"):
            agent.fit(world, 30, epochs=3, callbacks=[callback], verbose=0)
    assert false_transitions(agent, 3) == []


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda w: w, marks=pytest.mark.long),
        pytest.param(envs.make, marks=pytest.mark.long),
        lambda w: gymnasium.wrappers.TimeLimit(w, 9),
    ],
    ids=["itself", "Environment", "wrapper"],
)
def test_one_to_train_and_to_validate_on_is_refused(wrap):
    world = Clock()
    agent = dqn(world, 1)
    with pytest.raises(RuntimeError, match="Give training and evaluation an env"):
        agent.fit(world, 20, epochs=2, validation_env=wrap(world), verbose=0)
    assert int(agent.env_steps) == 0
    agent.fit(world, 20, epochs=2, validation_env=Clock(), verbose=0)
    assert false_transitions(agent, 1) == []


def test_the_on_policy_loop_begins_anew_too():
    world = Clock()
    agent = A2C.for_env(world, rollout_length=5, **SETTINGS)
    seen = []
    prepare = agent.prepare
    agent.prepare = lambda rollout, state: (
        seen.append(rollout) or prepare(rollout, state)
    )
    tf.config.run_functions_eagerly(True)
    try:
        agent.fit(world, steps=10, epochs=1, verbose=0)
        world.step(0)
        with pytest.warns(UserWarning, match="reset or stepped by others"):
            agent.fit(world, steps=10, epochs=1, verbose=0)
    finally:
        tf.config.run_functions_eagerly(False)
    for rollout in seen:
        now, then = rollout.observation.numpy(), rollout.next_observation.numpy()
        np.testing.assert_array_equal(now[..., 0], then[..., 0])
        np.testing.assert_array_equal(now[..., 1] + 1, then[..., 1])
    assert seen[2].observation.numpy()[0, 0, 1] == 0.0
