"""Tests of `kerasrl2.envs.gymnasium_bridge`."""

import functools

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2.envs import GymnasiumEnvironment, make
from tests.envs.worlds import SEED, Spaces, ThreeSteps, play


def test_shows_true_successors_and_new_starts(mode):
    # Environment 0 terminates at time 3, 1 truncates, 2 does both.
    env = GymnasiumEnvironment(ThreeSteps, 3)
    first, result = play(env, [[1, 0, 2]] * 7, mode)
    np.testing.assert_array_equal(first[:, :2], np.zeros([3, 2]))
    episodes, times = [0, 0, 0, 1, 1, 1, 2], [1, 2, 3, 1, 2, 3, 1]
    shown_episodes, shown_times = [0, 0, 1, 1, 1, 2, 2], [1, 2, 0, 1, 2, 0, 1]
    for row in range(3):
        np.testing.assert_array_equal(result.next_observation[:, row, 0], episodes)
        np.testing.assert_array_equal(result.next_observation[:, row, 1], times)
        np.testing.assert_array_equal(result.observation[:, row, 0], shown_episodes)
        np.testing.assert_array_equal(result.observation[:, row, 1], shown_times)
    expected = 10 * np.array(episodes) + times
    np.testing.assert_array_equal(result.reward, np.stack([expected] * 3, axis=1))
    ends = np.array(times) == 3
    np.testing.assert_array_equal(result.terminated, np.outer(ends, [1, 0, 1]) > 0)
    np.testing.assert_array_equal(result.truncated, np.outer(ends, [0, 1, 1]) > 0)
    assert result.valid.all()


def test_rows_end_independently():
    limited = iter([2, 3, 9])
    make_one = lambda: gymnasium.wrappers.TimeLimit(ThreeSteps(), next(limited))  # noqa: E731
    _, result = play(GymnasiumEnvironment(make_one, 3), [[0, 1, 1]] * 4)
    assert result.truncated.T.tolist() == [
        [False, True, False, True],
        [False, False, True, False],
        [False] * 4,
    ]
    np.testing.assert_array_equal(result.observation[..., 1].T[0], [1, 0, 1, 0])
    np.testing.assert_array_equal(result.observation[..., 1].T[1], [1, 2, 0, 1])


def test_shapes_and_dtypes_are_static(mode):
    env = GymnasiumEnvironment(ThreeSteps, 3)
    specs = tf.function(env.reset).get_concrete_function(SEED).structured_outputs
    assert [(tuple(s.shape), s.dtype) for s in specs] == [
        ((), tf.int32),
        ((3, 3), tf.float32),
    ]
    state, _ = mode(env.reset)(SEED)
    action = tf.constant([0, 1, 2])
    state, time_step = mode(env.step)(state, action, SEED)
    assert [(tuple(x.shape), x.dtype) for x in time_step] == [
        ((3, 3), tf.float32),
        ((3, 3), tf.float32),
        ((3,), tf.float32),
        ((3,), tf.bool),
        ((3,), tf.bool),
        ((3,), tf.bool),
    ]
    traced = tf.function(env.step).get_concrete_function(state, action, SEED)
    for spec, value in zip(traced.structured_outputs[1], time_step, strict=True):
        assert (spec.shape, spec.dtype) == (value.shape, value.dtype)


def noise(env, seed, steps=7):
    """`[steps + 1, N]`, the random number of each environment's current episode."""
    first, result = play(env, [[1] * env.num_envs] * steps, seed=tf.constant(seed))
    return np.concatenate([first[None], result.observation])[..., 2]


def test_each_environment_has_its_own_stream_through_all_episodes():
    values = noise(GymnasiumEnvironment(ThreeSteps, 4), [0, 1])
    assert len(np.unique(values)) == 4 * 3  # three episodes of each


def test_equal_seeds_give_equal_runs_and_others_do_not():
    env = GymnasiumEnvironment(ThreeSteps, 3)
    runs = [noise(env, seed) for seed in ([0, 1], [0, 1], [1, 0], [0, -1])]
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(
        runs[0], noise(GymnasiumEnvironment(ThreeSteps, 3), [0, 1])
    )
    assert len(np.unique(np.concatenate(runs[1:]))) == 3 * 3 * 3


def test_action_spaces_are_seeded_apart_from_the_environments():
    env = GymnasiumEnvironment("Pendulum-v1", 3)
    samples = []
    for _ in range(2):
        env.reset(SEED)
        samples.append([float(e.action_space.sample()[0]) for e in env.envs])
    assert samples[0] == samples[1]
    assert len(set(samples[0])) == 3
    state = [e.unwrapped.np_random.bit_generator.state for e in env.envs]
    spaces_ = [e.action_space.np_random.bit_generator.state for e in env.envs]
    increments = [s["state"]["inc"] for s in state + spaces_]
    assert len(set(increments)) == 6


def test_a_loop_in_a_graph_steps_in_order():
    env = GymnasiumEnvironment(ThreeSteps, 2)

    @tf.function
    def loop(seed):
        state, _ = env.reset(seed)
        rewards = tf.TensorArray(tf.float32, 6)
        for i in tf.range(6):
            state, time_step = env.step(state, tf.ones([2], tf.int32), seed)
            rewards = rewards.write(i, time_step.reward)
        return rewards.stack()

    for _ in range(2):
        expected = [1, 2, 3, 11, 12, 13]
        np.testing.assert_array_equal(loop(SEED), np.transpose([expected] * 2))
    assert loop.experimental_get_tracing_count() == 1


class Reuses(ThreeSteps):
    """Returns the same array each time, changed."""

    def __init__(self):
        super().__init__()
        self.array = np.zeros(3)

    def _observation(self):
        self.array[:] = self.episode, self.time, self.noise
        return self.array


def test_returned_values_do_not_change_later(mode):
    _, expected = play(GymnasiumEnvironment(ThreeSteps, 2), [[1, 0]] * 5, mode)
    env = GymnasiumEnvironment(Reuses, 2)
    state, _ = mode(env.reset)(SEED)
    kept = []
    for _ in range(5):
        state, time_step = mode(env.step)(state, tf.constant([1, 0]), SEED)
        kept.append(time_step)
    for name in ("observation", "next_observation", "reward"):
        values = np.stack([getattr(time_step, name) for time_step in kept])
        np.testing.assert_array_equal(values, getattr(expected, name))


@pytest.mark.parametrize(
    ("space", "shape", "dtype"),
    [
        (spaces.Box(0, 255, [4, 4, 2], np.uint8), (2, 4, 4, 2), tf.uint8),
        (spaces.Box(-1, 1, [3], np.float64), (2, 3), tf.float32),
        (spaces.Box(-1, 1, [], np.float32), (2,), tf.float32),
        (spaces.Box(-5, 5, [1, 2], np.int64), (2, 1, 2), tf.int64),
        (spaces.Discrete(5), (2,), tf.int32),
        (spaces.Discrete(5, start=-2), (2,), tf.int32),
    ],
)
def test_observation_spaces(mode, space, shape, dtype):
    env = GymnasiumEnvironment(lambda: Spaces(space, spaces.Discrete(2)), 2)
    state, first = mode(env.reset)(SEED)
    _, time_step = mode(env.step)(state, tf.constant([0, 1]), SEED)
    for value in (first, time_step.observation, time_step.next_observation):
        assert (tuple(value.shape), value.dtype) == (shape, dtype)
    space.seed(0)
    np.testing.assert_array_equal(time_step.observation, time_step.next_observation)
    assert np.unique(first).size > 1 or dtype == tf.int32


@pytest.mark.parametrize(
    ("space", "actions", "kind"),
    [
        (spaces.Discrete(3), np.array([2, 0], np.int32), np.int64),
        (spaces.Discrete(3, start=5), np.array([7, 5], np.int64), np.int64),
        (spaces.Box(-1, 1, [2]), np.array([[3, -0.5], [0, 1]], np.float32), np.float32),
        (
            spaces.Box(-1, 1, [1], np.float64),
            np.array([[0.5], [1]], np.float32),
            np.float64,
        ),
        (
            spaces.Box(0, 9, [1], np.int32),
            np.array([[5], [1]], np.int32),
            np.int32,
        ),
    ],
)
def test_action_spaces(mode, space, actions, kind):
    box = spaces.Box(-1, 1, [1])
    env = GymnasiumEnvironment(lambda: Spaces(box, space), 2)
    state, _ = mode(env.reset)(SEED)
    given = tf.constant(actions)
    state, _ = mode(env.step)(state, given, SEED)
    received = np.array([e.actions[0] for e in env.envs])
    np.testing.assert_array_equal(received, actions)  # unclipped
    assert env.envs[0].types[1] == kind
    np.testing.assert_array_equal(given, actions)  # the environment spoilt a copy


@pytest.mark.parametrize("action", [[0, 5], [8, 5], [5, -1]])
def test_actions_outside_a_discrete_space_are_an_error(mode, action):
    box = spaces.Box(-1, 1, [1])
    env = GymnasiumEnvironment(lambda: Spaces(box, spaces.Discrete(3, start=5)), 2)
    with pytest.raises(ValueError, match=r"integer in \[5, 7\]. Received: (0|8|-1)"):
        play(env, [action], mode)


def test_actions_of_the_wrong_shape_are_an_error():
    env = GymnasiumEnvironment(ThreeSteps, 2)
    with pytest.raises(ValueError, match=r"integer actions of shape \(2,\)"):
        play(env, [[[1], [0]]])


@pytest.mark.parametrize(
    "space", [spaces.Dict(a=spaces.Discrete(2)), spaces.Tuple([spaces.Discrete(2)])]
)
def test_other_actions_are_named_in_the_error(space):
    box = spaces.Box(0, 1, [1])
    with pytest.raises(ValueError, match=r"actions in .* Box or Discrete") as error:
        GymnasiumEnvironment(functools.partial(Spaces, box, space))
    assert str(space) in str(error.value)


@pytest.mark.parametrize(
    "space",
    [
        spaces.MultiDiscrete([2, 3], start=[0, 5]),
        spaces.MultiDiscrete([[2, 3], [4, 1]], np.int16),
        spaces.MultiBinary([2, 2]),
    ],
    ids=str,
)
def test_several_integers_reach_the_environment_in_its_dtype(space, mode):
    env = GymnasiumEnvironment(
        functools.partial(Spaces, spaces.Box(0, 1, [1]), space), 2
    )
    space.seed(0)
    actions = np.array([[space.sample(), space.sample()]], np.int32)
    play(env, actions, mode)
    for i, made in enumerate(env.envs):
        np.testing.assert_array_equal(made.actions[0], actions[0, i])
        assert made.types == (np.ndarray, space.dtype)
    actions[0, 1].flat[-1] = 9
    with pytest.raises(ValueError, match=r"(?s)integers in Multi\w+\(.*Received: \["):
        play(env, actions, mode)


def test_close_closes_once_and_ends_use(mode):
    env = GymnasiumEnvironment(ThreeSteps, 2)
    state, _ = mode(env.reset)(SEED)
    env.close()
    env.close()
    assert [e.closed for e in env.envs] == [1, 1]
    with pytest.raises(RuntimeError, match="ThreeSteps is closed"), env.errors():
        mode(env.step)(state, tf.constant([0, 0]), SEED)
    with pytest.raises(RuntimeError, match="ThreeSteps is closed"), env.errors():
        mode(env.reset)(SEED)


def test_close_goes_on_after_an_exception():
    env = GymnasiumEnvironment(ThreeSteps, 2)

    def refuse():
        raise ZeroDivisionError

    env.envs[0].close = refuse
    with pytest.raises(ZeroDivisionError):
        env.close()
    assert env.envs[1].closed == 1


def test_one_environment_can_be_given():
    only = ThreeSteps()
    env = make(only)
    assert env.envs == (only,)
    assert env.id == "ThreeSteps"
    for keywords in ({"num_envs": 2}, {"render_mode": "human"}):
        with pytest.raises(ValueError, match="Expected an id or a callable"):
            make(only, **keywords)


def test_a_callable_has_to_return_new_environments():
    only = ThreeSteps()
    with pytest.raises(ValueError, match="a new environment at each call"):
        make(lambda: only, num_envs=2)
    with pytest.raises(ValueError, match=r"return a `gymnasium.Env`. Received: 3"):
        make(lambda: 3)


def test_environments_have_to_have_equal_spaces():
    sizes = iter([2, 3])
    box = spaces.Box(-1, 1, [1])
    with pytest.raises(ValueError, match="one `action_space`"):
        make(lambda: Spaces(box, spaces.Discrete(next(sizes))), num_envs=2)


def test_follows_gymnasium_itself():
    env = make("CartPole-v1", num_envs=2, backend="gymnasium")
    actions = np.random.default_rng(0).integers(2, size=[60, 2]).astype(np.int32)
    first, result = play(env, actions)
    for row in range(2):
        peer = gymnasium.make("CartPole-v1", disable_env_checker=True)
        seed = env.envs[row].unwrapped._np_random_seed
        observation, _ = peer.reset(seed=seed)
        np.testing.assert_array_equal(first[row], observation)
        for t in range(60):
            observation, reward, terminated, truncated, _ = peer.step(actions[t, row])
            following = result.next_observation[t, row]
            np.testing.assert_array_equal(following, observation)
            assert result.reward[t, row] == reward
            assert result.terminated[t, row] == terminated
            assert result.truncated[t, row] == truncated
            if terminated or truncated:
                observation, _ = peer.reset()
            np.testing.assert_array_equal(result.observation[t, row], observation)
    assert result.terminated.sum() >= 2
