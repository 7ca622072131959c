"""Python functions called from programs that XLA compiled."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2._private import in_xla_context
from kerasrl2.envs import GymnasiumEnvironment
from kerasrl2.envs._host_call import HostFunction, available
from kerasrl2.errors import EnvironmentFailure

DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16"
DTYPES = f"{DTYPES} float32 float64".split()
SCALAR = tf.TensorSpec([], tf.int32)


def test_this_machine_can():
    assert available()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3, 1)])
def test_arrays_of_any_kind_go_there_and_back(dtype, shape):
    spec, seen = tf.TensorSpec(shape, dtype), []
    value = (
        np.arange(np.prod(shape, dtype=int))
        .reshape(shape)
        .astype(spec.dtype.as_numpy_dtype)
    )

    def function(array, number):
        seen.append((array, number))
        return number + 1, array[..., ::-1] if shape else array

    call = HostFunction(function, [spec, SCALAR], [SCALAR, spec])
    number, array = tf.function(call, jit_compile=True)(tf.constant(value), 6)
    assert number.numpy() == 7
    np.testing.assert_array_equal(array.numpy(), value[..., ::-1] if shape else value)
    assert (seen[0][0].dtype, seen[0][0].shape) == (value.dtype, shape)
    np.testing.assert_array_equal(seen[0][0], value)


def test_one_call_for_each_turn_of_a_loop_and_in_order():
    seen = []
    spec = tf.TensorSpec([2], tf.float32)

    def function(array):
        seen.append(array)  # may be kept: it is a copy
        return (array * [1, 2],)

    call = HostFunction(function, [spec], [spec])

    @tf.function(jit_compile=True)
    def loop(steps):
        return tf.while_loop(
            lambda i, x: i < steps, lambda i, x: (i + 1, *call(x)), (0, tf.ones([2]))
        )[1]

    assert loop(20).numpy().tolist() == [1.0, 2.0**20]
    assert [array.tolist() for array in seen] == [[1.0, 2.0**i] for i in range(20)]


def test_a_call_whose_result_nobody_uses_is_made():
    seen = []
    call = HostFunction(lambda x: (seen.append(int(x)), x)[1:], [SCALAR], [SCALAR])

    @tf.function(jit_compile=True)
    def program(x):
        call(x)
        return x + 1

    assert program(3).numpy() == 4
    assert seen == [3]


def test_an_exception_ends_the_program_with_its_message(monkeypatch):
    told = []
    monkeypatch.setattr("sys.unraisablehook", lambda u: told.append(u.exc_value))

    def function(x):
        if x == 2:
            raise ZeroDivisionError("two is too much")
        return (x,)

    call = HostFunction(function, [SCALAR], [SCALAR])
    program = tf.function(lambda x: call(x)[0], jit_compile=True)
    assert program(1).numpy() == 1
    with pytest.raises(tf.errors.OpError, match="ZeroDivisionError: two is too much"):
        program(2)
    assert isinstance(told[0], ZeroDivisionError)
    assert program(3).numpy() == 3


def test_results_of_the_wrong_shape_or_number_are_errors(monkeypatch):
    monkeypatch.setattr("sys.unraisablehook", lambda _: None)
    for result in [(np.zeros([2]),), (), (np.int32(1), np.int32(2))]:
        call = HostFunction(lambda x, y=result: y, [SCALAR], [SCALAR])
        with pytest.raises(tf.errors.OpError, match="ValueError"):
            tf.function(call, jit_compile=True)(1)


def test_knows_where_it_is():
    seen = []

    def look(x):
        def body(i, x):
            seen.append(in_xla_context())
            return i + 1, x

        return tf.while_loop(lambda i, x: i < 2, body, (0, x))[1]

    tf.function(look, jit_compile=True)(1.0)
    tf.function(look)(1.0)
    assert seen == [True, False]
    assert not in_xla_context()


# Environments


def play(env, jit_compile, steps=40):
    """Rewards, observations and flags of a run, as NumPy arrays."""

    @tf.function(jit_compile=jit_compile)
    def run(state, actions):
        state, sums, rows = state, tf.zeros([env.num_envs]), []
        for action in tf.unstack(actions):
            state, after = env.step(state, action, tf.constant([0, 0]))
            sums += after.reward
            flags = after.terminated, after.truncated
            rows.append([after.observation, after.next_observation, *flags])
        return state, sums, [tf.stack(column) for column in zip(*rows, strict=True)]

    state, _ = env.reset(tf.constant([3, 4]))
    actions = tf.random.stateless_uniform([steps, env.num_envs], [1, 2], 0, 2, tf.int32)
    with env.errors():
        return tf.nest.map_structure(lambda x: x.numpy(), run(state, actions))


@pytest.mark.long
@pytest.mark.parametrize("num_envs", [pytest.param(1, marks=pytest.mark.long), 3])
def test_an_environment_is_the_same_in_a_program_as_in_a_graph(num_envs):
    """Its steps are taken in order, though no action depends on one before."""
    envs = [GymnasiumEnvironment("CartPole-v1", num_envs) for _ in range(2)]
    runs = [play(env, xla) for env, xla in zip(envs, [True, False], strict=True)]
    tf.nest.map_structure(np.testing.assert_array_equal, *runs)
    assert runs[0][2][2].any()


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_actions_of_any_integer_dtype(dtype):
    """In one environment, one program after the other."""
    env = GymnasiumEnvironment("CartPole-v1")
    for kind in (tf.int32, dtype, tf.int64):
        state, _ = env.reset(tf.constant([3, 4]))

        @tf.function(jit_compile=True)
        def step(state, action):
            return env.step(state, action, tf.constant([0, 0]))[1].observation

        with env.errors():
            seen = step(state, tf.constant([1], kind)).numpy()
        assert seen[0, 3] < 0, "pushed to the right, the pole falls to the left"


class Trouble(Exception):
    pass


@pytest.mark.parametrize("error", [Trouble, KeyboardInterrupt])
def test_a_failure_in_a_program_is_told_once(error):
    env, calls = GymnasiumEnvironment("CartPole-v1"), []
    inner = env.envs[0].unwrapped
    step = inner.step

    def failing(action):
        calls.append(action)
        if len(calls) == 5:
            raise error("here")
        return step(action)

    inner.step = failing
    expected = KeyboardInterrupt if error is KeyboardInterrupt else EnvironmentFailure
    with pytest.raises(expected, match="here"):
        play(env, True, steps=20)
    assert len(calls) == 5, "no step after the failure"
    assert env.failure is None
    play(env, True, steps=2)


def test_rewards_after_a_failure_are_no_numbers():
    env = GymnasiumEnvironment("CartPole-v1")
    env.reset(tf.constant([0, 0]))

    @tf.function(jit_compile=True)
    def stale(state):
        state, after = env.step(state, tf.constant([0]), tf.constant([0, 0]))
        return state, after.reward

    _, reward = stale(tf.constant(77))
    assert np.isnan(reward).all()
    assert isinstance(env.failure, RuntimeError)
