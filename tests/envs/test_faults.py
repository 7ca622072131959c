"""What becomes of training when an environment or a number is faulty.

One bench for each agent and way of running it: two environments, the second of which
does what a fault says from its step `AT` on. Whatever the fault, the agent must be as
it was after the last good step, and the replay buffer must hold good rows only.
"""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2 import agents, envs
from kerasrl2.errors import EnvironmentFailure, NonFiniteError

pytestmark = pytest.mark.long

AT, N, ROLLOUT = 6, 2, 4  # the episode of step 6 ends with it
FLOAT = np.float32


class Plan:
    """What the environments of a bench do: `fault` from step `at` of copy 1 on."""

    fault, at = None, AT


class World(gymnasium.Env):
    """Shows its clock; episodes of three steps; each step pays the clock's count."""

    observation_space = spaces.Box(-np.inf, np.inf, [2], FLOAT)
    action_space = spaces.Discrete(2)

    def __init__(self, plan, number):
        self.plan, self.number = plan, number
        self.array, self.clock, self.resets = np.zeros(2, FLOAT), 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.clock = 0
        self.time = 0
        if self._faulty():
            return self.plan.fault("reset", (self._show(), {}), self)
        return self._show(), {}

    def step(self, action):
        self.clock, self.time = self.clock + 1, self.time + 1
        result = self._show(), float(self.time), self.time == 3, False, {}
        return self.plan.fault("step", result, self) if self._faulty() else result

    def _show(self):
        return np.array([self.clock % 5 / 5.0, self.time / 3.0], FLOAT)

    def _faulty(self):
        return self.plan.fault and self.number == 1 and self.clock >= self.plan.at


@tf.custom_gradient
def spoil_gradient(x, bad):
    return x, lambda slope: (tf.where(bad, np.nan, 1.0) * slope, None)


def spoilt(agent_class):
    """`agent_class`, whose loss or gradient is NaN at the gradient steps `bad_at`."""

    class Spoilt(agent_class):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.bad_at = tf.Variable([-1, -1], dtype=tf.int64, trainable=False)

        def compute_loss(self, batch, seed):
            loss, metrics = super().compute_loss(batch, seed)
            step = tf.cast(tf.convert_to_tensor(self.optimizer.iterations), tf.int64)
            bad = tf.equal(step, self.bad_at)  # of the loss, of the gradient
            loss = tf.where(bad[0], np.nan, 1.0) * loss
            return spoil_gradient(loss, bad[1]), metrics

    return Spoilt


class Bench:
    """An agent and a compiled loop that can be put back to the start."""

    def __init__(self, agent_class, xla, **settings):
        self.plan = Plan()
        made = iter(World(self.plan, number) for number in range(N))
        self.env = envs.make(lambda: next(made), N)
        self.agent = spoilt(agent_class).for_env(
            self.env, hidden=(4,), seed=0, xla=xla, **settings
        )
        self.loop = self.agent.loop_on(self.env)
        self.loop.compile()
        self.start = [variable.numpy() for variable in self.variables()]

    def variables(self):
        agent = self.agent
        buffer = getattr(agent, "buffer", None)
        own = [v.value for v in (*agent.variables, *agent.optimizer.variables)]
        return [*own, *(buffer.variables if buffer is not None else ())]

    def weights(self):
        found = [v.numpy() for v in self.agent.variables if v.name != "env_steps"]
        return [*found, *(v.numpy() for v in self.agent.optimizer.variables)]

    def run(self, vector_steps, fault=None, at=AT):
        """From the start, `vector_steps` steps of both environments."""
        self.plan.fault, self.plan.at = None, at
        for variable, value in zip(self.variables(), self.start, strict=True):
            variable.assign(value)
        self.loop.start()
        self.plan.fault = fault
        self.loop.run(-(-vector_steps // self.loop.vector_steps))

    def last_good(self):
        """Weights and rows before the step `AT` with the fault."""
        size = self.loop.vector_steps
        self.run((AT - 1) // size * size)
        return self.weights(), self.rows()

    def rows(self):
        """`(observation, reward, next_observation)` of all rows of the buffer."""
        buffer = getattr(self.agent, "buffer", None)
        if buffer is None:
            return []
        batch = buffer.get(np.arange(int(buffer.added())))
        return [batch.observation, batch.reward, batch.next_observation]


KINDS = {
    "PPO": (agents.PPO, {"rollout_length": ROLLOUT, "batch_size": 4, "num_epochs": 2}),
    "DQN": (
        agents.DQN,
        {"batch_size": 4, "learning_starts": 4, "buffer_size": 64, "num_envs": N}
        | {"target_update_interval": 2, "prioritized": True},
    ),
}


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "xla"])
def xla(request):
    return request.param


@pytest.fixture(scope="module", params=KINDS)
def bench(request, xla):
    agent_class, settings = KINDS[request.param]
    if request.param == "PPO":
        settings = settings | {"normalize_rewards": False}
    made = Bench(agent_class, xla, **settings)
    made.kind, made.good = request.param, made.last_good()
    made.steps_taken = int(made.agent.optimizer.iterations)
    return made


def assert_last_good(bench):
    weights, rows = bench.good
    for before, after in zip(weights, bench.weights(), strict=True):
        np.testing.assert_array_equal(before, after)
        assert np.isfinite(after).all()
    for before, after in zip(rows, bench.rows(), strict=True):
        np.testing.assert_array_equal(before, after)


def raises(method, result, env):
    if method == "step":
        raise ZeroDivisionError("boom")
    return result


def fails_in_reset(method, result, env):
    if method == "reset":
        raise OSError("no more")
    return result


def with_part(index, value):
    """A fault that puts `value` in place `index` of what `step` returns."""

    def fault(method, result, env):
        if method == "reset":
            return result
        return (*result[:index], value, *result[index + 1 :])

    return fault


def grows(method, result, env):
    """The space changes: from now on there are three numbers to see."""
    env.observation_space = spaces.Box(-1, 1, [3], FLOAT)
    return (np.zeros(3, FLOAT), *result[1:])


def short(method, result, env):
    return result[:4] if method == "step" else result


WHERE = f"`step` of World (environment 1 of 2 from 0, step {AT}, given action "
STOPS = {  # fault, exception, parts of its message
    "raises": (raises, EnvironmentFailure, [WHERE, "raised ZeroDivisionError: boom"]),
    "raises in reset": (
        fails_in_reset, EnvironmentFailure,
        ["`reset` of World (environment 1", f"step {AT}) raised OSError: no more"],
    ),
    "wrong shape": (
        with_part(0, np.zeros([2, 1], FLOAT)), EnvironmentFailure,
        [WHERE, "Expected an array of shape (2,)", "Received: shape (2, 1)"],
    ),
    "no observation": (with_part(0, None), EnvironmentFailure, [WHERE, "dtype object"]),
    "changing space": (grows, EnvironmentFailure, [WHERE, "Received: shape (3,)"]),
    "four values": (short, EnvironmentFailure, [WHERE, "a tuple of 4"]),
    "text reward": (with_part(1, "1"), EnvironmentFailure, [WHERE, "Received: '1'"]),
    "integer end": (with_part(2, 1), EnvironmentFailure, [WHERE, "a Boolean"]),
    "NaN reward": (
        with_part(1, float("nan")), NonFiniteError,
        ["infinite reward from environment 1 of 'World'", f"step {AT} (env step 12"],
    ),
    "infinite reward": (
        with_part(1, float("-inf")), NonFiniteError,
        ["infinite reward from environment 1 of 'World'", f"step {AT} (env step 12"],
    ),
    "reward above float32": (
        with_part(1, 1e300), NonFiniteError,
        ["infinite reward from environment 1 of 'World'", f"step {AT} (env step 12"],
    ),
    "NaN": (
        with_part(0, np.array([0.0, np.nan], FLOAT)), NonFiniteError,
        ["infinite observation from environment 1 of 'World'", f"at its step {AT} "],
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize(("fault", "exception", "parts"), STOPS.values(), ids=STOPS)
def test_training_stops_at_the_last_good_step(bench, fault, exception, parts):
    with pytest.raises(exception) as caught:
        bench.run(12, fault)
    for part in parts:
        assert part in str(caught.value)
    assert_last_good(bench)
    bench.run(8)  # the agent and its environments can go on


def test_nothing_is_forgotten_of_the_cause(bench):
    with pytest.raises(EnvironmentFailure) as caught:
        bench.run(12, raises)
    error = caught.value
    assert (error.index, error.step) == (1, AT)
    assert type(error.__cause__) is ZeroDivisionError


def test_fit_stops_alike_and_can_be_called_again(bench):
    bench.plan.fault = None
    bench.run(0)
    bench.plan.fault = raises
    with pytest.raises(EnvironmentFailure, match="boom"):
        bench.agent.fit(bench.env, steps=24, epochs=1, verbose=0)
    assert all(np.isfinite(weight).all() for weight in bench.weights())
    if not bench.loop.uses_xla:  # which compiles anew
        bench.plan.fault = None
        bench.agent.fit(bench.env, steps=24, epochs=1, verbose=0)
        assert bench.agent.env_steps >= 24


def reuses(method, result, env):
    """One array for ever, overwritten while the caller still has it."""
    env.array[:] = result[0]
    return (env.array, *result[1:])


def test_an_array_that_is_overwritten_changes_nothing(bench):
    bench.run(12)
    weights, rows = bench.weights(), bench.rows()
    bench.run(12, reuses, at=1)
    for before, after in zip(weights, bench.weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    for before, after in zip(rows, bench.rows(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("end", "episodes"),
    [(True, 12 + 4), (False, 4)],
    ids=["ends at once", "never ends"],
)
def test_episodes_of_any_length_can_be_learned_from(bench, end, episodes):
    """Environment 0 goes on as ever: four episodes of three steps."""
    bench.run(12, with_part(2, end), at=1)
    _, updates, totals = bench.loop.report()
    assert updates > 0
    assert int(totals[0]) == episodes
    assert all(np.isfinite(weight).all() for weight in bench.weights())


def test_a_huge_finite_reward(bench):
    """1e30 fits into float32, its square does not.

    PPO's loss is a square: it is infinite, and that step is not taken. DQN's Huber
    loss grows like the error: it learns.
    """
    if bench.kind == "PPO":
        with pytest.raises(NonFiniteError, match="infinite loss while learning from"):
            bench.run(12, with_part(1, 1e30))
        assert_last_good(bench)
    else:
        bench.run(12, with_part(1, 1e30))
        assert FLOAT(1e30) in np.asarray(bench.rows()[1])
        assert not np.array_equal(bench.weights()[0], bench.good[0][0])
        assert all(np.isfinite(weight).all() for weight in bench.weights())


@pytest.mark.parametrize("part", ["loss", "gradient"])
def test_a_nan_at_a_gradient_step(bench, part):
    """PPO: the first of the second rollout; DQN: that of step 6."""
    taken = bench.steps_taken
    assert taken > 2
    bench.agent.bad_at[["loss", "gradient"].index(part)].assign(taken)
    with pytest.raises(NonFiniteError, match=f"infinite {part} while learning"):
        bench.run(12)
    bench.agent.bad_at.assign([-1, -1])
    assert int(bench.agent.optimizer.iterations) == taken
    assert_last_good(bench)


def test_a_huge_reward_leaves_the_statistics_of_rewards_finite():
    """Scaled by them it is clipped like any other."""
    settings = {"rollout_length": ROLLOUT, "normalize_rewards": True}
    bench = Bench(agents.A2C, False, **settings)
    bench.run(12, with_part(1, 1e30))
    assert all(np.isfinite(weight).all() for weight in bench.weights())
