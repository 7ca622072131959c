"""Environments that return anything: the expected arrays or an `EnvironmentFailure`.

What is expected is worked out here, value by value, without the package's code.
"""

import itertools
import operator
import random
from typing import NamedTuple

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kerasrl2.envs._leaves import MalformedError
from kerasrl2.envs._lockstep import Lockstep
from kerasrl2.envs._spaces import codec
from kerasrl2.errors import EnvironmentFailure
from tests.fuzzing import fuzz

pytestmark = pytest.mark.long

FLOAT = np.float32
SPACES = [
    spaces.Box(-1.0, 1.0, [2], FLOAT),
    spaces.Box(-1.0, 1.0, [], np.float64),
    spaces.Box(0, 255, [2, 1], np.uint8),
    spaces.Box(-9, 9, [1], np.int32),
    spaces.Discrete(3),
    spaces.Discrete(4, start=-2),
]
BAD = object()  # stands for: must be refused


class Result(NamedTuple):
    """What `step` may return as well."""

    observation: object
    reward: object
    terminated: object
    truncated: object
    info: object


class Hostile:
    """Raises whenever it is looked at."""

    def _raise(self, *args, **kwargs):
        raise LookupError("hostile")

    __array__ = __index__ = __float__ = __bool__ = __len__ = __repr__ = _raise


class HostileError(Exception):
    def __str__(self):
        raise LookupError("hostile")


# What is expected


def array_of(value):
    try:
        return np.asarray(value)
    except Exception:
        return None


def expected_observation(space, value):
    """`value` in the layout of `space`, or `BAD`."""
    if isinstance(space, spaces.Discrete):
        try:
            number = operator.index(value)
        except Exception:
            return BAD
        fits = space.start <= number < space.start + space.n
        return np.int32(number) if fits else BAD
    array = array_of(value)
    if array is None or array.shape != space.shape:
        return BAD
    if space.dtype.kind == "f":
        return array.astype(FLOAT) if array.dtype.kind in "biuf" else BAD
    if array.dtype.kind not in ("bu" if space.dtype.kind == "u" else "biu"):
        return BAD
    numbers = [int(x) for x in array.flat]
    limits = np.iinfo(space.dtype)
    if any(not limits.min <= x <= limits.max for x in numbers):
        return BAD
    return np.array(numbers, space.dtype).reshape(space.shape)


def expected_reward(value):
    array = array_of(value)
    if array is None or array.shape or array.dtype.kind not in "biuf":
        return BAD
    return FLOAT(float(array))


def expected_flag(value):
    array = array_of(value)
    if array is None or array.shape or array.dtype.kind != "b":
        return BAD
    return bool(array)


# What environments return

DTYPES = "?", "i1", "u1", "i2", "u2", "i4", "i8", "u8", "f2", "f4", "f8", ">f4", "c8"
DTYPES += "U1", "O", "m8[s]"
SHAPES = [(), (1,), (2,), (3,), (1, 2), (2, 1), (2, 2), (0,)]
NUMBERS = [0, 1, -1, 2, 3, 200, 300, 70_000, -129, 2**31, 2**63, 0.5, 3.4e38, -1e300]
NUMBERS += [float("nan"), float("inf"), float("-inf"), 1e30, 10**400, 1 + 2j]
OTHERS = [
    None,
    "",
    "1",
    b"1",
    [],
    {},
    {"a": 1},
    (),
    [[1], 2],
    [None],
    object,
    Hostile(),
]


@st.composite
def arrays(draw, shapes):
    """Arrays of any kind, as arrays, lists, or NumPy's scalars."""
    shape = draw(st.sampled_from(shapes))
    count = int(np.prod(shape))
    numbers = draw(st.lists(st.sampled_from(NUMBERS), min_size=count, max_size=count))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    try:
        with np.errstate(all="ignore"):
            array = np.array(numbers).reshape(shape).astype(dtype)
    except Exception:
        array = np.zeros(shape, dtype)
    form = draw(st.integers(0, 3))
    if form == 0:
        return array.tolist()
    return array[()] if form == 1 else array


def anything(shape):
    """Arrays, most often of `shape`, and what else there is."""
    return st.one_of(
        arrays([shape]),
        arrays([shape]),
        arrays([shape]),
        arrays(SHAPES),
        st.sampled_from([*OTHERS, *NUMBERS]),
        st.booleans() | st.floats() | st.integers(),
    )


REWARDS = [0.0, 1.5, 1, True, FLOAT(-2), np.array(3), np.float64("nan"), 1e30, 1e300]
FLAGS = [False, False, False, True, np.False_, np.True_, np.array(True)]
WEIRD = [*NUMBERS, *OTHERS, True, np.True_, np.int8(1), np.float16(2), np.array([True])]
WEIRD += [np.ones(shape, kind) for shape in SHAPES for kind in DTYPES]


def good_observations(space):
    if isinstance(space, spaces.Discrete):
        numbers = [int(space.start + i) for i in range(space.n)]
        return [*numbers, *map(np.int64, numbers)]
    numbers = [0, 1, 7] if space.dtype.kind in "iu" else [0.0, -0.0, 0.25, 1e30]
    count = int(np.prod(space.shape))
    rows = itertools.product(numbers, repeat=count)
    return [np.array(row, space.dtype).reshape(space.shape) for row in rows]


def spoilt(result):
    """Something else than the tuple `result`."""
    others = [result[:-1], (*result, {}), (), None, list(result), result[0], Hostile()]
    return [*others, ZeroDivisionError("boom"), HostileError(), dict.fromkeys("abcde")]


def pools(space, size=400):
    """Good and bad results of `reset` and of `step`, by four names."""
    choice, good = random.Random(0).choice, good_observations(space)
    pool = {"reset": [(observation, {}) for observation in good], "step": []}
    pool |= {"bad reset": [(value, {}) for value in WEIRD], "bad step": []}
    pool["bad reset"] += spoilt(pool["reset"][0])
    for number in range(size):
        result = choice(good), choice(REWARDS), choice(FLAGS), choice(FLAGS), {}
        pool["step"].append(Result(*result) if number % 2 else result)
        changed = list(result)
        changed[choice(range(5))] = choice(WEIRD)
        pool["bad step"].append(tuple(changed))
    pool["bad step"] += spoilt(result)
    return pool


POOLS = [pools(space) for space in SPACES]


# Single values: most cases


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_observations(space):
    @fuzz(1200)
    @given(value=anything(space.shape), index=st.integers(0, 2))
    def check(value, index):
        layout = codec(space, "observation")
        batch = np.full((3, *layout.shape), 77, layout.dtype)
        with np.errstate(over="ignore"):
            expected = expected_observation(space, value)
            if expected is BAD:
                with pytest.raises(Exception):  # noqa: B017, PT011
                    layout.put(batch, index, value)
                return
            layout.put(batch, index, value)
        np.testing.assert_array_equal(batch[index], expected)
        assert (np.delete(batch, index, 0) == 77).all()

    check()


@fuzz(100)
@given(
    space=st.sampled_from([s for s in SPACES if isinstance(s, spaces.Discrete)]),
    actions=hnp.arrays(np.int32, 2, elements=st.integers(-4, 4)),
)
def test_actions_of_a_discrete_space(space, actions):
    layout = codec(space, "action")
    if all(space.contains(int(action)) for action in actions):
        taken = layout.take(actions)
        np.testing.assert_array_equal(taken, actions)
        taken[:] = 99
        assert 99 not in actions
    else:
        with pytest.raises(MalformedError, match="Expected an integer in"):
            layout.take(actions)


# Whole runs


class Scripted(gymnasium.Env):
    """Returns or raises what its scripts say."""

    def __init__(self, space, resets, steps):
        self.observation_space, self.action_space = space, spaces.Discrete(2)
        self.resets, self.steps = iter(resets), iter(steps)

    def reset(self, *, seed=None, options=None):
        if seed == 0:  # the look for action masks, before all others
            return None
        return self._next(self.resets)

    def step(self, action):
        return self._next(self.steps)

    def _next(self, script):
        result = next(script)
        if isinstance(result, Exception):
            raise result
        return result


class Refused(Exception):
    """`args`: method and environment that the bridge must name."""


def naive_reset(space, result, index):
    if not isinstance(result, tuple) or len(result) != 2:
        raise Refused("reset", index)
    observation = expected_observation(space, result[0])
    if observation is BAD:
        raise Refused("reset", index)
    return observation


def naive_step(space, scripts):
    """`(current, following, reward, terminated, truncated)`, lists over copies."""
    rows = []
    for index, (resets, steps) in enumerate(scripts):
        result = next(steps)
        if not isinstance(result, tuple) or len(result) != 5:
            raise Refused("step", index)
        following = expected_observation(space, result[0])
        reward = expected_reward(result[1])
        flags = [expected_flag(value) for value in result[2:4]]
        if following is BAD or reward is BAD or BAD in flags:
            raise Refused("step", index)
        current = following
        if any(flags):
            current = naive_reset(space, next(resets), index)
        rows.append((current, following, reward, *flags))
    return [list(column) for column in zip(*rows, strict=True)]


STEPS = 4


@st.composite
def runs(draw):
    """A space and, for each environment, what its resets and steps return."""
    kind = draw(st.integers(0, len(SPACES) - 1))
    pool, faults = POOLS[kind], draw(st.integers(0, 2))  # how many, at most
    steps = st.lists(st.sampled_from(pool["step"]), min_size=STEPS, max_size=STEPS)
    resets = st.lists(st.sampled_from(pool["reset"]), min_size=3, max_size=3)
    scripts = draw(st.lists(st.tuples(resets, steps), min_size=1, max_size=3))
    for _ in range(faults):
        name = draw(st.sampled_from(["reset", "step", "step", "step"]))
        script = draw(st.sampled_from(scripts))[name == "step"]
        place = draw(st.integers(0, len(script) - 1))
        script[place] = draw(st.sampled_from(pool["bad " + name]))
    return SPACES[kind], scripts


def repeated(scripts):
    return [(itertools.cycle(a), itertools.cycle(b)) for a, b in scripts]


@fuzz(2000)
@given(run=runs(), seed=st.integers(-(2**31), 2**31 - 1))
def test_runs(run, seed):
    space, scripts = run
    naive = repeated(scripts)
    world = Lockstep("Fuzz", [Scripted(space, *pair) for pair in repeated(scripts)])
    kept, started = [], False
    action = np.arange(len(scripts)) % 2
    with np.errstate(over="ignore"):
        try:
            expected = [
                naive_reset(space, next(resets), index)
                for index, (resets, _) in enumerate(naive)
            ]
            started = True
            token, first = world.reset(np.array([seed, 1], np.int32))
            np.testing.assert_array_equal(first, np.stack(expected))
            for _ in range(STEPS):
                columns = naive_step(space, naive)
                observations, outcome = world.step(token, action)
                token += 1
                kept.append((observations, outcome, columns))
        except Refused as refused:
            check_refusal(world, refused, len(kept) if started else None, action)
            for observations, outcome, columns in kept:
                check_arrays(world, observations, outcome, columns)
            return
    for observations, outcome, columns in kept:  # later steps left them alone
        check_arrays(world, observations, outcome, columns)


def check_arrays(world, observations, outcome, columns):
    assert observations.dtype == world.observation.dtype
    assert outcome.dtype == FLOAT
    np.testing.assert_array_equal(observations, np.stack([*map(np.stack, columns[:2])]))
    np.testing.assert_array_equal(outcome, np.array(columns[2:], FLOAT))


def check_refusal(world, refused, steps, action):
    """The bridge refuses the same call of the same environment, and stays refusing.

    `steps` is None if `reset` is to be refused, else how many steps there were.
    """
    method, index = refused.args
    token = np.int32(world._token)
    call, arguments = world.step, (token, action)
    if steps is None:
        call, arguments = world.reset, (np.array([0, 1], np.int32),)
    with pytest.raises(EnvironmentFailure) as caught:
        call(*arguments)
    error = caught.value
    assert (error.index, error.step) == (index, 0 if steps is None else steps + 1)
    assert str(error).startswith(f"`{method}` of Fuzz (environment {index} of ")
    with pytest.raises(RuntimeError, match="Call `reset`"):
        world.step(token, action)
