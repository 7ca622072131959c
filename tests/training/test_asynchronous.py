"""Workers in threads: what they share, what they count, and how they end."""

import os
import signal
import threading
import time
import traceback

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from kerasrl2 import _private, envs, load_agent
from kerasrl2.agents import A3C
from kerasrl2.errors import CheckpointError, EnvironmentFailure, NonFiniteError
from kerasrl2.training import programs
from kerasrl2.training.threads import Tickets, run_threads
from tests.training.runs import state_of
from tests.training.worlds import Scripted

SMALL = {"hidden": (4,), "rollout_length": 5, "num_envs": 1, "seed": 0, "xla": False}


def make(env="CartPole-v1", **settings):
    return A3C.for_env(env, **{**SMALL, **settings})


def no_workers():
    return not [t for t in threading.enumerate() if t.name.startswith("worker-")]


@keras.saving.register_keras_serializable(package="tests")
class Square(A3C):
    """The loss is w^2, whatever is played: `w` is the value's only weight."""

    metric_names = ("loss", "gradient_norm")

    def compute_loss(self, batch, seed):
        value = self(batch.observation)[1]
        return tf.reduce_mean(value) ** 2, {}


def square(workers=2, **settings):
    """`(agent, env, w)`: inputs are multiplied by zeros, the value is its bias `w`."""
    inputs = keras.Input([3])
    zeros = keras.layers.Dense(
        2, use_bias=False, kernel_initializer="zeros", trainable=False
    )(inputs)
    value = keras.layers.Dense(1, bias_initializer="ones")
    network = keras.Model(inputs, [zeros, value(zeros)])
    value.kernel.trainable = False
    sgd = {"optimizer": keras.optimizers.SGD(0.1), "max_gradient_norm": None}
    settings = {**SMALL, **sgd, "workers": workers, **settings}
    env = Scripted([3])
    return Square.for_env(env, network=network, **settings), env, value.bias


class TestPushAndPull:
    """By hand, without threads: L = w^2, w = 1, SGD 0.1; systems.md 000-08."""

    def computed(self, loop, worker, values):
        return worker.compute(values, tf.zeros([], tf.int64), worker._values())[1]

    def pushed(self, loop, contribution):
        carry = loop.workers[0].carry
        return loop._program(contribution, carry.sums.value(), carry.updates.value())[0]

    def start(self, agent, env):
        loop = agent.loop_on(env)
        loop.compile()
        return loop, [v.value() for v in loop.workers[0].shared.values()]

    @pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.long)])
    def test_two_stale_pushes(self, xla):
        """Both have the slope at 1: 1 - 0.2 - 0.2. (One after the other: 0.64.)"""
        agent, env, w = square(xla=xla)
        loop, values = self.start(agent, env)
        both = [self.computed(loop, worker, values) for worker in loop.workers]
        assert float(w[0]) == 1.0  # a worker's own copy is all it writes
        for contribution in both:
            [slope] = contribution.gradients.values
            assert float(slope[0]) == pytest.approx(2.0, abs=1e-6)
            self.pushed(loop, contribution)
        assert float(w[0]) == pytest.approx(0.6, abs=1e-6)

    @pytest.mark.long
    def test_pushes_in_turn(self):
        agent, env, w = square()
        loop, values = self.start(agent, env)
        for worker in loop.workers:
            values = self.pushed(loop, self.computed(loop, worker, values))
        assert float(w[0]) == pytest.approx(0.64, abs=1e-7)
        assert int(agent.optimizer.iterations) == 2

    @pytest.mark.long
    def test_a_worker_computes_with_what_it_pulled(self):
        """Not with what the shared weights are meanwhile."""
        agent, env, w = square()
        loop, values = self.start(agent, env)
        w.assign([7.0])
        found = self.computed(loop, loop.workers[1], values)
        assert float(found.gradients.values[0][0]) == 2.0

    @pytest.mark.long
    def test_both_write_to_copies_of_their_own(self):
        agent, env, _ = square()
        loop, _ = self.start(agent, env)
        first, second = (worker._program.captured for worker in loop.workers)
        shared = {id(v.handle) for v in loop.workers[0].shared.values()}
        assert not shared & {id(x) for x in (*first, *second)}
        assert loop.workers[0].compute is not loop.workers[1].compute


@pytest.mark.parametrize("lock", [True, pytest.param(False, marks=pytest.mark.long)])
def test_every_worker_reports_and_all_is_counted(lock):
    """No worker is lost or doubled: each plays its own seeds; sums are exact."""
    agent = make(workers=3, lock=lock, num_envs=2)
    history = agent.fit("CartPole-v1", steps=600, epochs=3, verbose=0).history
    assert history["env_steps"] == [200, 400, 600]
    loop = agent.loop_on("CartPole-v1")
    steps = [history[f"worker_{i}_env_steps"][-1] for i in range(3)]
    ended = [history[f"worker_{i}_episodes"][-1] for i in range(3)]
    assert sum(steps) == 600 == int(agent.env_steps) == int(loop.carry.env_steps)
    assert sum(ended) == sum(history["episodes"])
    assert all(count > 0 and count % 10 == 0 for count in steps)
    assert int(loop.carry.iteration) == 60
    if lock:
        assert int(agent.optimizer.iterations) == 60
    assert len({worker._seed.numpy() for worker in loop.workers}) == 3
    seen = [w.carry.actor.observation.numpy().tobytes() for w in loop.workers]
    assert len(set(seen)) == 3
    assert no_workers()


@pytest.mark.long
@pytest.mark.parametrize("until", [95, None])
def test_no_iteration_too_many(until):
    """Those under way count: 95 steps are 10 rollouts of 10, whoever plays them."""
    agent = make(workers=4, num_envs=2)
    loop = agent.loop_on("CartPole-v1")
    loop.run(10 if until is None else 1000, until=until)
    assert int(loop.carry.env_steps) == int(agent.env_steps) == 100
    assert sum(int(worker.played[0]) for worker in loop.workers) == 100


class TestTickets:
    def test_under_contention(self):
        tickets, taken = Tickets(10_000, 0, None, 1), [[] for _ in range(8)]

        def work(mine):
            while (steps := tickets.take()) is not None:
                mine.append(steps)
                tickets.give_back(1)

        run_threads([lambda m=mine: work(m) for mine in taken], tickets.stop)
        assert sum(map(len, taken)) == tickets.played == 10_000

    def test_what_plays_less_leaves_more(self):
        tickets = Tickets(9, 0, 4, 4)
        assert tickets.take() == 0
        assert tickets.take() is None
        tickets.give_back(3)
        assert tickets.take() == 3

    def test_the_first_to_report_is_named(self):
        tickets = Tickets(9, 0, None, 1)
        tickets.note("late", before=False, healthy=False)
        tickets.note("first", before=True, healthy=False)
        tickets.note("third", before=False, healthy=False)
        assert tickets.unhealthy == "first"
        assert tickets.take() is None


class Fragile(gymnasium.Env):
    """Raises in one of the environments that were made, at step 12."""

    observation_space, action_space = spaces.Box(-1, 1, [2]), spaces.Discrete(2)
    made, bad, what = 0, 1, "raise"
    lock = threading.Lock()

    def __init__(self):
        with Fragile.lock:
            self.number, self.clock = Fragile.made, 0
            Fragile.made += 1

    def reset(self, seed=None, options=None):
        return np.zeros(2, "f4"), {}

    def step(self, action):
        self.clock += 1
        reward = 1.0
        if self.number == self.bad and self.clock == 12:
            if Fragile.what == "raise":
                raise KeyError("a bug of the environment")
            if Fragile.what == "interrupt":
                raise KeyboardInterrupt
            reward = float("nan")
        return np.zeros(2, "f4"), reward, self.clock % 4 == 0, False, {}


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.long)])
def fragile(request, monkeypatch):
    """`(agent, weights after each push)`; worker 1 is the one that fails."""
    agent = make(Fragile(), workers=2, xla=request.param)
    monkeypatch.setattr(Fragile, "made", 0)
    monkeypatch.setattr(Fragile, "what", "raise")
    return agent


class TestFailures:
    @pytest.mark.long
    def test_an_exception_ends_the_run_and_names_the_worker(self, fragile):
        with pytest.raises(
            EnvironmentFailure, match=r"In worker 1 of 2, counted from 0: .*a bug of"
        ) as caught:
            fragile.fit(Fragile, steps=10_000, verbose=0)
        assert no_workers()
        cause = caught.value.__cause__
        assert isinstance(cause, KeyError)
        assert "in step" in "".join(traceback.format_tb(cause.__traceback__))
        assert caught.value.step == 12
        assert 0 < int(fragile.env_steps) < 10_000

    @pytest.mark.long
    def test_the_agent_goes_on_afterwards(self, fragile):
        with pytest.raises(EnvironmentFailure):
            fragile.fit(Fragile, steps=10_000, verbose=0)
        before = int(fragile.env_steps)
        fragile.fit(Fragile, steps=30, verbose=0)
        assert int(fragile.env_steps) == before + 30

    @pytest.mark.long
    def test_nan(self, fragile, monkeypatch):
        monkeypatch.setattr(Fragile, "what", "nan")
        with pytest.raises(NonFiniteError, match=r"In worker 1 of 2.*reward"):
            fragile.fit(Fragile, steps=10_000, verbose=0)
        assert no_workers()
        assert all(np.isfinite(weight).all() for weight in fragile.get_weights())

    @pytest.mark.long
    def test_an_interrupt_in_a_worker(self, fragile, monkeypatch):
        monkeypatch.setattr(Fragile, "what", "interrupt")
        with pytest.raises(KeyboardInterrupt):
            fragile.fit(Fragile, steps=10_000, verbose=0)
        assert no_workers()

    @pytest.mark.long
    def test_something_else(self, monkeypatch):
        agent = make(workers=2)
        loop = agent.loop_on("CartPole-v1")
        loop.compile()

        def broken(*arguments):
            raise MemoryError("no room")

        monkeypatch.setattr(loop.workers[1], "compute", broken)
        with pytest.raises(
            RuntimeError, match=r"In worker 1 of 2.*MemoryError: no room"
        ) as caught:
            loop.run(100)
        assert isinstance(caught.value.__cause__, MemoryError)
        assert no_workers()
        assert int(agent.env_steps) == 5 * int(loop.carry.iteration)

    @pytest.mark.long
    def test_a_gradient_that_is_not_finite(self):
        class Broken(A3C):
            def compute_loss(self, batch, seed):
                loss, metrics = super().compute_loss(batch, seed)
                late = tf.reduce_any(batch.observation[:, 2] > 0.2)
                return loss * tf.where(late, np.nan, 1.0), metrics

        agent = Broken.for_env(Scripted([9]), workers=2, **SMALL)
        with pytest.raises(NonFiniteError, match=r"In worker \d of 2"):
            agent.fit(Scripted([9]), steps=200, verbose=0)
        assert all(np.isfinite(weight).all() for weight in agent.get_weights())


@pytest.mark.long
@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.long)])
def test_ctrl_c_ends_all_threads(times):
    """The first is held back to the end of a block; a second is not."""

    class Slow(Fragile):
        bad = None

        def step(self, action):
            time.sleep(0.01)
            return super().step(action)

    agent, played = make(Slow(), workers=2), threading.Event()
    pressed = threading.Event()

    def press():
        played.wait(60)
        for _ in range(times):
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)
        pressed.set()

    class Tell(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            played.set()

    threading.Thread(target=press, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            agent.fit(Slow, steps=100_000, verbose=0, callbacks=[Tell()])
        pressed.wait(60)
    except KeyboardInterrupt:  # the second, which came after the end
        pressed.wait(60)
    assert pressed.is_set()
    assert no_workers()
    assert int(agent.env_steps) > 0


@pytest.mark.long
def test_running_statistics_are_shared():
    """Every observation is counted once, whichever worker saw it."""
    agent = make(workers=3, normalize_observations=True, normalize_rewards=True)
    agent.fit("CartPole-v1", steps=300, epochs=1, verbose=0)
    assert float(agent.observation_normalizer.count) == 300.0
    assert float(agent.reward_scaling.count) == 300.0


@pytest.mark.long
def test_moving_averages_of_workers_reach_the_shared_network():
    """Batch normalisation: what each worker's copy has moved is added."""
    inputs = keras.Input([4])
    hidden = keras.layers.BatchNormalization(momentum=0.9)(inputs)
    outputs = [keras.layers.Dense(n)(hidden) for n in (2, 1)]
    agent = make(network=keras.Model(inputs, outputs), workers=2)
    layer = agent.network.layers[1]
    agent.fit("CartPole-v1", steps=200, epochs=1, verbose=0)
    assert np.all(np.abs(layer.moving_variance.numpy() - 1.0) > 0.1)
    assert np.isfinite(layer.moving_mean.numpy()).all()


@pytest.mark.long
@pytest.mark.usefixtures("no_programs")
def test_workers_share_a_program_and_agents_do():
    loops = [make(workers=3).loop_on("CartPole-v1") for _ in range(2)]
    for loop in loops:
        loop.compile()
        captured = [worker._program._concrete for worker in loop.workers]
        assert len(set(map(id, captured))) == 1
    assert loops[0].num_traces == 1
    assert loops[1].num_traces == 0
    assert len(programs._programs) == 2


@pytest.mark.long
def test_where_tensorflow_cannot_give_workers_copies(monkeypatch):
    """They take turns on the shared weights: with one worker the same bits."""

    def run():
        programs._programs.clear()
        agent = make(workers=1, normalize_observations=True)
        agent.fit("CartPole-v1", steps=100, verbose=0)
        return agent.get_weights()

    expected = run()
    monkeypatch.setattr(_private, "_flat_call", lambda function: None)
    for a, b in zip(expected, run(), strict=True):
        np.testing.assert_array_equal(a, b)
    agent = make(workers=2)
    agent.fit("CartPole-v1", steps=100, verbose=0)
    assert int(agent.env_steps) == 100


class TestCheckpoints:
    def train(self, agent, directory, steps, **options):
        options = {"epochs": 2, "verbose": 0, "resume": True, **options}
        return agent.fit(
            "CartPole-v1", steps=steps, checkpoint_dir=directory, **options
        ).history

    @pytest.mark.long
    def test_each_worker_goes_on_where_it_was(self, tmp_path):
        first = make(workers=2, normalize_observations=True)
        self.train(first, tmp_path, 200)
        again = make(workers=2, normalize_observations=True, seed=9)
        loop = again.loop_on("CartPole-v1")
        self.train(again, tmp_path, 200)  # nothing is left to play
        loop, before = again.loop_on("CartPole-v1"), first.loop_on("CartPole-v1")
        for name, array in state_of(first).items():
            np.testing.assert_array_equal(array, state_of(again)[name], err_msg=name)
        pairs = list(zip(loop.workers, before.workers, strict=True))
        for mine, other in pairs:
            for a, b in zip(
                tf.nest.flatten(mine.carry), tf.nest.flatten(other.carry), strict=True
            ):
                np.testing.assert_array_equal(a, b)
            assert mine.played.numpy().tolist() == other.played.numpy().tolist()
            assert int(mine._seed) != 0
        history = self.train(
            make(workers=2, normalize_observations=True), tmp_path, 400
        )
        assert history["env_steps"][-1] == 400
        assert sum(history[f"worker_{i}_env_steps"][-1] for i in range(2)) == 400

    @pytest.mark.long
    def test_another_number_of_workers(self, tmp_path):
        self.train(make(workers=2), tmp_path, 100)
        with pytest.raises(CheckpointError, match="workers/"):
            self.train(make(workers=1), tmp_path, 200)

    @pytest.mark.long
    def test_environments_in_python_begin_new_episodes(self, tmp_path):
        def train(steps):
            agent = make(workers=2)
            agent.fit(
                lambda: gymnasium.make("CartPole-v1"),
                steps=steps, epochs=1, verbose=0, checkpoint_dir=tmp_path, resume=True,
            )  # fmt: skip
            return agent

        train(100)
        agent = train(200)
        assert int(agent.env_steps) == 200
        assert int(agent.optimizer.iterations) == 40


@pytest.mark.long
def test_a_loaded_agent_goes_on(tmp_path):
    agent = make(workers=2, lock=False)
    agent.fit("CartPole-v1", steps=50, epochs=1, verbose=0)
    agent.save(tmp_path / "agent.keras")
    loaded = load_agent(tmp_path / "agent.keras")
    assert (loaded.workers, loaded.lock) == (2, False)
    loaded.fit("CartPole-v1", steps=50, epochs=1, verbose=0)
    assert int(loaded.env_steps) == 100


@pytest.mark.long
def test_the_rest_of_what_agents_can():
    """Masks in dictionaries, infos, other actions."""
    from tests.agents.nested_worlds import Minefield

    agent = make(Minefield(2), workers=2)
    agent.fit(Minefield(2), steps=200, epochs=1, verbose=0)
    assert agent.evaluate(Minefield(2), episodes=4)["return"] >= 0.0

    class Both(gymnasium.Env):
        observation_space = spaces.Box(-1, 1, [2])
        action_space = spaces.MultiDiscrete([2, 3])

        def reset(self, seed=None, options=None):
            self.clock = 0
            return np.zeros(2, "f4"), {}

        def step(self, action):
            self.clock += 1
            return np.zeros(2, "f4"), 1.0, self.clock == 3, False, {"is_success": True}

    agent = make(Both(), workers=2)
    history = agent.fit(
        Both, steps=100, epochs=1, verbose=0, info_keys=("is_success",)
    ).history
    assert history["is_success"] == [1.0]
    assert history["episode_length"] == [3.0]


@pytest.mark.long
def test_bound_environments_are_closed():
    closed = []

    class Closes(Fragile):
        bad = None

        def close(self):
            closed.append(self)

    agent = make(Closes(), workers=3)
    agent.fit(Closes, steps=20, verbose=0)
    before = len(closed)
    agent.close()
    assert len(closed) == before + 3


@pytest.mark.long
def test_moved_by_others():
    """Only the worker whose environment it is begins anew."""
    made = []

    def recipe():
        made.append(gymnasium.make("CartPole-v1"))
        return made[-1]

    agent = make(workers=2)
    loop = agent.loop_on(recipe)
    loop.run(2)
    loop.workers[1].env.reset(tf.constant([0, 0]))
    with pytest.warns(UserWarning, match="was reset or stepped by others"):
        loop.run(2)
    assert envs.make("CartPole-v1").in_graph
