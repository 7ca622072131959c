"""What of a vector environment cannot be used is one clear error."""

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper

from kerasrl2 import envs
from kerasrl2.errors import EnvironmentFailure
from tests.envs.vectors import Counting, counting
from tests.envs.worlds import SEED, Spaces, play

NEXT, SAME = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP
ACTIONS = np.zeros([4, 3], np.int32)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"num_envs": 2}, r"has num_envs=3. Received: num_envs=2"),
        ({"render_mode": "human"}, r"keywords \['render_mode'\]"),
        ({"subprocess": True}, "an id or a callable that returns a new"),
        ({"time_limit": 1.0}, "`subprocess=True` with a time limit"),
        ({"vectorization": "sync"}, "Expected an id or, with"),
        ({"backend": "tensorflow"}, "Expected an id with a TensorFlow version"),
    ],
)
def test_settings_beside_a_vector_environment(keywords, message):
    with pytest.raises(ValueError, match=message):
        envs.make(counting(SAME), **keywords)


def test_its_own_number_may_be_given():
    assert envs.make(counting(SAME), num_envs=3).num_envs == 3


def test_a_callable_is_called_once():
    made = []

    def make(**kwargs):
        made.append(counting(SAME, **kwargs))
        return made[-1]

    env = envs.make(make, copy=False)
    assert (env.num_envs, env.envs, made[0].copy) == (3, (made[0],), False)
    with pytest.raises(ValueError, match="num_envs=2"):
        envs.make(make, num_envs=2)
    assert made[1].closed
    assert len(made) == 2


class Undeclared(SyncVectorEnv):
    def __init__(self, env_fns, autoreset_mode):
        super().__init__(env_fns, autoreset_mode=autoreset_mode)
        del self.metadata["autoreset_mode"]


def test_an_undeclared_mode_is_refused_with_the_remedy():
    vector = counting(SAME, Undeclared)
    with pytest.raises(ValueError, match="where its episodes begin") as error:
        envs.make(vector)
    assert "SyncVectorEnv" not in str(error.value).split("Received")[0]
    vector.metadata = {**vector.metadata, "autoreset_mode": SAME}  # as it says
    assert envs.make(vector).always_valid


def test_environments_that_differ_are_refused():
    kinds = [Spaces(spaces.Box(0.0, high, [2]), spaces.Discrete(2)) for high in (1, 2)]
    vector = SyncVectorEnv(
        [lambda: kinds[0], lambda: kinds[1]], observation_mode="different"
    )
    with pytest.raises(ValueError, match="equal observation spaces"):
        envs.make(vector)


def test_a_batch_smaller_than_the_environments_is_refused():
    vector = counting(SAME)
    vector.batch_size = 2
    with pytest.raises(ValueError, match=r"all 3 environments at a time. Rec.*size=2"):
        envs.make(vector)


@pytest.mark.parametrize("wrapped", [False, True])
def test_closed_by_others(wrapped, mode):
    vector = counting(SAME)
    env = envs.make(VectorWrapper(vector) if wrapped else vector)
    state, _ = env.reset(SEED)
    vector.close()
    with pytest.raises(RuntimeError, match="closed: not here"), env.errors():
        mode(env.step)(state, tf.constant([0, 0, 0]), SEED)
    with pytest.raises(RuntimeError, match="closed: not here"), env.errors():
        mode(env.reset)(SEED)
    env.close()


def test_closed_here():
    vector = counting(SAME)
    env = envs.make(vector)
    env.close()
    env.close()
    assert vector.closed
    with pytest.raises(RuntimeError, match="Make a new one"), env.errors():
        env.reset(SEED)


class Faulty(SyncVectorEnv):
    """Returns `fault(result)` of the second step."""

    fault = steps = None

    def step(self, actions):
        self.steps = (self.steps or 0) + 1
        result = super().step(actions)
        return result if self.steps < 2 else type(self).fault(result)


def changed(place, value):
    return lambda result: (*result[:place], value, *result[place + 1 :])


def explode(result):
    raise ZeroDivisionError("boom")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (explode, "raised ZeroDivisionError: boom"),
        (lambda result: result[:4], r"Received: a tuple of 4"),
        (changed(0, np.zeros([3, 3])), r"shape \(3, 2\) .* Received: shape \(3, 3\)"),
        (changed(1, [1.0]), r"3 numbers as reward. Received: shape \(1,\)"),
        (changed(1, np.array(["a"] * 3)), "3 numbers as reward"),
        (changed(2, np.zeros(3)), "3 Booleans as terminated. Received: shape"),
        (changed(3, np.zeros(2, bool)), r"Booleans as truncated. .* \(2,\)"),
        (changed(4, {"x": 1}), r"`final_obs` in `info` .*SAME_STEP. Received: x"),
    ],
    ids=range(8),
)
def test_faults_are_named(fault, message):
    cls = type("Faulty", (Faulty,), {"fault": staticmethod(fault)})
    with pytest.raises(EnvironmentFailure, match=message) as error:
        play(envs.make(counting(SAME, cls)), ACTIONS)
    assert "`step` of Faulty (3 environments, step 2" in str(error.value)
    assert (error.value.index, error.value.step) == (None, 2)


def test_a_fault_in_reset_is_named():
    class Old(SyncVectorEnv):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=seed)[0]

    with pytest.raises(EnvironmentFailure, match=r"`reset` of Old .* ndarray"):
        play(envs.make(counting(SAME, Old)), ACTIONS)


def test_faults_in_a_program_of_xla():
    cls = type("Faulty", (Faulty,), {"fault": staticmethod(explode)})
    env = envs.make(counting(NEXT, cls))
    step = tf.function(env.step, jit_compile=True, autograph=False)
    state, _ = env.reset(SEED)
    state, _ = step(state, tf.constant([0, 0, 0]), SEED)
    with pytest.raises(EnvironmentFailure, match="boom"), env.errors(afterwards=True):
        _, after = step(state, tf.constant([0, 0, 0]), SEED)
    assert np.isnan(after.reward).all()


@pytest.mark.parametrize(
    "move",
    [
        lambda vector: vector.reset(),
        lambda vector: vector.step(ACTIONS[0]),
        lambda vector: VectorWrapper(vector).reset(),
        lambda vector: envs.make(vector).reset(SEED),
        lambda vector: vector.envs[1].step(0),
    ],
    ids=["reset", "step", "wrapper", "environment", "one of them"],
)
def test_moves_of_others_are_found_out(move):
    vector = counting(SAME)
    env = envs.make(vector)
    state, _ = env.reset(SEED)
    state, _ = env.step(state, tf.constant([0, 0, 0]), SEED)
    assert env.is_current(state)
    move(vector)
    assert not env.is_current(state)
    with pytest.raises(RuntimeError, match="an environment each"), env.errors():
        env.step(state, tf.constant([0, 0, 0]), SEED)
    state, _ = env.reset(SEED)
    env.step(state, tf.constant([0, 0, 0]), SEED)


def test_who_shares_copies_with_whom():
    vector, single = counting(SAME), Counting(2)
    holding = envs.make(SyncVectorEnv([lambda: single]))
    assert envs.make(vector).shares_copies_with(envs.make(VectorWrapper(vector)))
    assert not envs.make(vector).shares_copies_with(envs.make(counting(SAME)))
    assert holding.shares_copies_with(envs.make(single))


@pytest.mark.parametrize(
    ("vectorization", "always_valid"),
    [("sync", True), ("vector_entry_point", False)],
)
def test_ids_by_make_vec(vectorization, always_valid):
    env = envs.make("CartPole-v1", 2, vectorization=vectorization)
    assert isinstance(env, envs.GymnasiumEnvironment)
    assert (env.id, env.num_envs, env.always_valid) == ("CartPole-v1", 2, always_valid)
    play(env, ACTIONS[:, :2])
    env.close()


@pytest.mark.parametrize(
    "vectorization", ["sync", pytest.param("async", marks=pytest.mark.long)]
)
def test_callables_in_vector_environments_of_gymnasium(vectorization):
    def make(limit):
        return gymnasium.make("CartPole-v1", max_episode_steps=limit)

    env = envs.make(make, 2, vectorization=vectorization, limit=9)
    assert (env.num_envs, env.always_valid) == (2, True)
    known = {"sync": 9, "async": None}  # nobody here sees what is in other processes
    assert env.max_episode_steps == known[vectorization]
    play(env, ACTIONS[:, :2])
    env.close()
    with pytest.raises(ValueError, match="a callable that returns a new"):
        envs.make(make, 2, vectorization="vector_entry_point", limit=9)
    with pytest.raises(ValueError, match=r"to return a `gymnasium.Env`"):
        envs.make(lambda: 3, 2, vectorization="sync")


def test_settings_of_make_vec():
    env = envs.make(
        "CartPole-v1", 2, vectorization="sync", max_episode_steps=7,
        vector_kwargs={"autoreset_mode": NEXT},
    )  # fmt: skip
    assert (env.max_episode_steps, env.always_valid) == (7, False)
    for keywords, message in (
        ({"vectorization": "synch"}, "Did you mean 'sync'"),
        ({"vectorization": "sync", "subprocess": True}, "and no `subprocess`, with"),
        (
            {"vectorization": "sync", "backend": "tensorflow"},
            "an environment of Gymnasium",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            envs.make("CartPole-v1", 2, **keywords)
    with pytest.raises(ValueError, match="an id with a `vector_entry_point`"):
        envs.make("Pendulum-v1", 2, vectorization="vector_entry_point")
    with pytest.raises(ValueError, match="no other settings"):
        envs.make(envs.make("CartPole-v1"), vectorization="sync")


def test_checks_of_vector_environments():
    assert envs.check(counting(SAME), steps=30) == []
    assert envs.check(lambda: counting(NEXT), steps=30) == []
    cls = type("Faulty", (Faulty,), {"fault": staticmethod(explode)})
    (found,) = envs.check(counting(SAME, cls), steps=30)
    assert found.severity == "error"
    assert "boom" in found.what


def test_one_alone_is_needed_to_render():
    vector = counting(SAME)
    for given in (vector, lambda: vector):
        with pytest.raises(ValueError, match="One alone is needed here"):
            envs.registry.make_single(given)
