"""The TensorFlow worlds against Gymnasium's, from the same states."""

import functools

import gymnasium
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.envs import make

N = 250
ROLLOUT_STEPS, WIDE_STEPS = 20, 20  # 2 * 20 * 250 = 10 000 transitions

# Widths of the state space to draw from, besides states that rollouts reach. Acrobot's
# speeds could be twice as high; its step then magnifies float32 rounding 100-fold.
WIDTH = {
    "CartPole-v1": [2.5, 3.0, 0.25, 3.0],
    "MountainCar-v0": [(-1.2, 0.6), 0.07],
    "MountainCarContinuous-v0": [(-1.2, 0.6), 0.07],
    "Pendulum-v1": [np.pi, 8.0],
    "Acrobot-v1": [np.pi, np.pi, 2 * np.pi, 4 * np.pi],
}


def random_actions(env, rng):
    """`[N, ...]`; continuous ones up to 1.5 times beyond the bounds."""
    space = env.action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(space.n, size=env.num_envs).astype(np.int32)
    shape = (env.num_envs, *space.shape)
    return (1.5 * space.high * rng.uniform(-1, 1, shape)).astype(np.float32)


def transitions(id, compiled):
    """`(physics, action, TimeStep, whether the physics are the wide ones)` batches."""
    env, rng = make(id, num_envs=N), np.random.default_rng(0)
    step = compiled(env.step)
    state, _ = env.reset(tf.constant([0, 0]))
    for t in range(ROLLOUT_STEPS + WIDE_STEPS):
        if t >= ROLLOUT_STEPS:
            bounds = [w if isinstance(w, tuple) else (-w, w) for w in WIDTH[id]]
            low, high = np.transpose(bounds)
            wide = rng.uniform(low, high, (N, len(low))).astype(np.float32)
            state = state._replace(physics=tf.constant(wide))
        physics, action = state.physics.numpy(), random_actions(env, rng)
        state, time_step = step(state, tf.constant(action), tf.constant([1, t]))
        yield physics, action, time_step


@pytest.mark.long
@pytest.mark.parametrize("id", WIDTH)
def test_agrees_with_gymnasium_over_10_000_steps(id):
    peer = gymnasium.make(id, disable_env_checker=True).unwrapped
    peer.reset(seed=0)
    terminations = 0
    for physics, action, ours in transitions(id, tf.function):
        theirs = []
        for i in range(N):
            peer.state = physics[i].astype(np.float64)
            peer.steps_beyond_terminated = None  # CartPole's memory of a fallen pole
            a = action[i] if action.ndim > 1 else int(action[i])
            theirs.append(peer.step(a)[:3])
        observation, reward, terminated = map(np.array, zip(*theirs, strict=True))
        close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
        close(ours.next_observation, observation)
        close(ours.reward, reward)
        np.testing.assert_array_equal(ours.terminated, terminated)
        terminations += terminated.sum()
    assert terminations > 20 or id == "Pendulum-v1"


@functools.cache
def eager_transitions(id):
    return list(transitions(id, lambda function: function))


@pytest.mark.parametrize(
    "jit_compile", [pytest.param(False, marks=pytest.mark.long), True]
)
@pytest.mark.parametrize(
    "id",
    [
        n if n == "CartPole-v1" else pytest.param(n, marks=pytest.mark.long)
        for n in WIDTH
    ],
)
def test_agrees_with_itself_in_each_mode(id, jit_compile):
    compiled = transitions(id, tf.function(jit_compile=jit_compile))
    pairs = zip(eager_transitions(id), compiled, strict=True)
    for t, ((physics, _, eager), (other, _, ours)) in enumerate(pairs):
        if t == 0:
            np.testing.assert_array_equal(other, physics)  # initial states, bit for bit
        elif 2 < t < ROLLOUT_STEPS:
            continue  # rounding may grow along a rollout
        for a, b in zip(eager[1:], ours[1:], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("id", "low", "high"),
    [
        ("CartPole-v1", [-0.05] * 4, [0.05] * 4),
        ("MountainCar-v0", [-0.6, 0.0], [-0.4, 0.0]),
        ("MountainCarContinuous-v0", [-0.6, 0.0], [-0.4, 0.0]),
        ("Pendulum-v1", [-np.pi, -1.0], [np.pi, 1.0]),
        ("Acrobot-v1", [-0.1] * 4, [0.1] * 4),
    ],
)
def test_starts_where_gymnasium_starts(id, low, high):
    peer = gymnasium.make(id, disable_env_checker=True).unwrapped
    theirs = []
    for seed in range(300):
        peer.reset(seed=seed)
        theirs.append(peer.state)
    state, _ = make(id, num_envs=4096).reset(tf.constant([5, 6]))
    for states, slack in ((state.physics.numpy(), 0.005), (np.array(theirs), 0.05)):
        spread = np.subtract(high, low)
        assert np.all(states.min(0) >= np.subtract(low, 1e-6))
        assert np.all(states.max(0) <= np.add(high, 1e-6))
        assert np.all(states.min(0) <= low + slack * spread)
        assert np.all(states.max(0) >= high - slack * spread)


@pytest.mark.filterwarnings("ignore:.*out of date.*:DeprecationWarning")
@pytest.mark.parametrize("id", [*WIDTH, "CartPole-v0"])
def test_spaces_and_time_limit_are_gymnasiums(id):
    ours, peer = make(id), gymnasium.make(id)
    assert ours.id == id
    assert ours.observation_space == peer.observation_space
    assert ours.action_space == peer.action_space
    assert ours.max_episode_steps == peer.spec.max_episode_steps


@pytest.mark.long
@pytest.mark.parametrize("id", WIDTH)
@pytest.mark.parametrize("limit", [1, 2, 7])
def test_truncates_when_gymnasiums_time_limit_does(id, limit):
    ours = make(id, num_envs=2, max_episode_steps=limit)
    peer = gymnasium.make(id, max_episode_steps=limit, disable_env_checker=True)
    state, _ = ours.reset(tf.constant([0, 0]))
    peer.reset(seed=0)
    step = tf.function(ours.step)
    for t in range(2 * limit + 1):
        action = np.stack([ours.action_space.sample()] * 2)
        if action.ndim == 1:
            action = action.astype(np.int32)
        state, time_step = step(state, tf.constant(action), tf.constant([1, t]))
        _, _, terminated, truncated, _ = peer.step(action[0])
        assert not terminated
        assert time_step.truncated.numpy().tolist() == [truncated] * 2
        if truncated:
            peer.reset()


def test_falls_and_meets_the_limit_in_one_step_as_in_gymnasium():
    steps, limits = make("CartPole-v1"), []
    state, _ = steps.reset(tf.constant([0, 0]))
    first = state.physics.numpy()[0]
    for t in range(1, 20):  # pushing one way, the pole falls within 12 steps
        state, time_step = steps.step(state, tf.constant([1]), tf.constant([0, 1]))
        if time_step.terminated[0]:
            limits.append(t)
            break
    (limit,) = limits
    ours = make("CartPole-v1", max_episode_steps=limit)
    peer = gymnasium.make("CartPole-v1", max_episode_steps=limit)
    state, _ = ours.reset(tf.constant([0, 0]))
    peer.reset(seed=0)
    peer.unwrapped.state = first.astype(np.float64)
    for _ in range(limit):
        state, time_step = ours.step(state, tf.constant([1]), tf.constant([0, 1]))
        *_, terminated, truncated, _ = peer.step(1)
        assert bool(time_step.terminated[0]) == terminated
        assert bool(time_step.truncated[0]) == truncated
    assert terminated
    assert truncated


def test_each_environment_and_each_restart_gets_its_own_state():
    env = make("Pendulum-v1", num_envs=64, max_episode_steps=1)
    state, first = env.reset(tf.constant([0, 0]))
    _, second = env.step(state, tf.zeros([64, 1]), tf.constant([0, 1]))
    _, third = env.step(state, tf.zeros([64, 1]), tf.constant([0, 2]))
    speeds = np.stack([first[:, 2], second.observation[:, 2], third.observation[:, 2]])
    assert len(np.unique(speeds)) == speeds.size
