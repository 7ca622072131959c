"""What comes out of `kerasrl2.envs.gymnasium_bridge` when user code fails."""

import traceback

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.envs import GymnasiumEnvironment
from kerasrl2.errors import EnvironmentFailure
from tests.envs.worlds import SEED, Fails, Spaces, ThreeSteps, play


def boom(result):
    raise ZeroDivisionError("boom")


def one_fails(where, at, fault, index=1):
    """Three environments, number `index` of which fails."""
    envs = iter(Fails(where, at if i == index else 0, fault) for i in range(3))
    return GymnasiumEnvironment(lambda: next(envs), 3)


@pytest.mark.parametrize(
    ("where", "at", "step", "action"),
    [
        ("reset", 1, 0, None),
        ("step", 1, 1, 0),
        ("step", 3, 3, 0),  # environment 0 was reset just before
        ("step", 5, 5, 0),
        ("reset", 2, 3, None),  # the autoreset after step 3
    ],
)
def test_an_exception_names_environment_step_and_action(mode, where, at, step, action):
    env = one_fails(where, at, boom)
    with pytest.raises(EnvironmentFailure) as caught:
        play(env, [[1, 0, 2]] * 6, mode)
    error = caught.value
    assert (error.index, error.step) == (1, step)
    assert (None if error.action is None else int(error.action)) == action
    assert type(error.__cause__) is ZeroDivisionError
    frames = traceback.extract_tb(error.__cause__.__traceback__)
    assert frames[-1].name == "boom"
    for part in (f"`{where}` of Fails", "environment 1 of 3", f"step {step}", "boom"):
        assert part in str(error)
    assert ("given action 0" in str(error)) == (where == "step")


def test_steps_are_counted_from_the_last_reset(mode):
    env = one_fails("step", 6, boom)
    play(env, [[1, 0, 2]] * 4, mode)
    with pytest.raises(EnvironmentFailure) as caught:
        play(env, [[1, 0, 2]] * 4, mode)
    assert caught.value.step == 2


def changed(**parts):
    """A fault that replaces parts of what `step` returns."""
    names = ("observation", "reward", "terminated", "truncated", "info")

    def fault(result):
        return tuple(
            parts.get(name, value) for name, value in zip(names, result, strict=True)
        )

    return fault


@pytest.mark.parametrize(
    ("where", "fault", "message"),
    [
        ("step", changed(observation=np.zeros(2)), r"shape \(3,\).* shape \(2,\)"),
        ("step", changed(observation=0.0), r"Received: shape \(\)"),
        ("step", changed(observation=np.array(["a"] * 3)), "dtype <U1"),
        ("step", changed(observation=np.zeros(3, complex)), "dtype complex128"),
        ("step", changed(observation=None), "dtype object"),
        ("step", changed(reward=None), "a number as reward. Received: None"),
        ("step", changed(reward=np.zeros(1)), "a number as reward"),
        ("step", changed(reward="1"), "a number as reward. Received: '1'"),
        ("step", changed(terminated=0), "a Boolean as terminated"),
        ("step", changed(truncated=None), "a Boolean .* Received: None"),
        ("step", lambda result: result[:4], "truncated, info.* a tuple of 4"),
        ("step", lambda result: None, "Received: NoneType"),
        ("reset", lambda result: result[0], r"\(observation, info\).* ndarray"),
        ("reset", lambda result: (np.zeros(2), {}), r"Received: shape \(2,\)"),
    ],
)
def test_a_malformed_value_is_an_error(mode, where, fault, message):
    env = one_fails(where, 2, fault)
    with pytest.raises(EnvironmentFailure, match=message) as caught:
        play(env, [[1, 0, 2]] * 4, mode)
    assert caught.value.index == 1
    assert f"`{where}` of Fails" in str(caught.value)


def test_images_must_not_lose_their_scale():
    space = spaces.Box(0, 255, [2], np.uint8)

    class Scaled(Spaces):
        def reset(self, *, seed=None, options=None):
            return np.array([0.5, 1.0]), {}

    env = GymnasiumEnvironment(lambda: Scaled(space, spaces.Discrete(2)))
    with pytest.raises(EnvironmentFailure, match=r"dtype uint8.*dtype float64"):
        env.reset(SEED)


def test_discrete_observations_are_checked():
    class Outside(Spaces):
        def step(self, action):
            return 5, 0.0, False, False, {}

    env = GymnasiumEnvironment(lambda: Outside(spaces.Discrete(5), spaces.Discrete(2)))
    with pytest.raises(EnvironmentFailure, match=r"integer in \[0, 4\]. Received: 5"):
        play(env, [[0]])


@pytest.mark.parametrize(
    ("reward", "expected"),
    [(1, 1.0), (True, 1.0), (np.float32(0.5), 0.5), (np.array(2), 2.0)],
)
def test_rewards_may_be_any_number(reward, expected):
    env = one_fails("step", 1, changed(reward=reward, terminated=np.False_))
    _, result = play(env, [[1, 1, 1]])
    assert result.reward[0].tolist() == [1.0, expected, 1.0]


def test_an_interrupt_stays_an_interrupt(mode):
    def interrupt(result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(one_fails("step", 2, interrupt), [[1, 0, 2]] * 4, mode)


def test_after_a_failure_only_reset_goes_on(mode):
    env = one_fails("step", 2, boom)
    state, _ = mode(env.reset)(SEED)
    action = tf.constant([1, 0, 2])
    state, _ = mode(env.step)(state, action, SEED)
    with pytest.raises(EnvironmentFailure), env.errors():
        mode(env.step)(state, action, SEED)
    with pytest.raises(RuntimeError, match="Call `reset`"), env.errors():
        mode(env.step)(state, action, SEED)
    _, result = play(env, [[1, 0, 2]] * 4, mode)
    np.testing.assert_array_equal(result.reward[:, 0], [1, 2, 3, 11])


def test_an_older_state_is_an_error(mode):
    env = GymnasiumEnvironment(ThreeSteps, 2)
    old, _ = mode(env.reset)(SEED)
    action = tf.constant([1, 0])
    state, _ = mode(env.step)(old, action, SEED)
    with pytest.raises(RuntimeError, match="Received an older one"), env.errors():
        mode(env.step)(old, action, SEED)
    state, _ = mode(env.step)(state, action, SEED)
    mode(env.reset)(SEED)  # somebody else, for instance an evaluation
    with pytest.raises(RuntimeError, match="Received an older one"), env.errors():
        mode(env.step)(state, action, SEED)


def test_needs_a_reset_first():
    env = GymnasiumEnvironment(ThreeSteps)
    with pytest.raises(RuntimeError, match="Call `reset`"):
        env.step(tf.constant(0), tf.constant([0]), SEED)
