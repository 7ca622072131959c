"""Hyper-parameters that are numbers: changed without compiling, and they count."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2._numbers import Number, number_names
from kerasrl2.agents import A2C, DQN, PPO
from kerasrl2.buffers import ReplayBuffer
from tests.agents.harness import SEED
from tests.agents.q_learning import transitions
from tests.agents.test_hyperparameters import rollout
from tests.training.worlds import Scripted

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

ENV = "CartPole-v1"
SETTINGS = {"hidden": (4,), "learning_rate": 0.05, "seed": 0, "xla": False}
ON_POLICY = {**SETTINGS, "rollout_length": 4, "num_envs": 2}
FIRST = {
    PPO: {**ON_POLICY, "batch_size": 4, "num_epochs": 2, "value_clip": 0.5,
          "target_kl": 10.0, "clip_range": 0.3, "entropy_coefficient": 0.01,
          "kl_coefficient": 0.1, "adaptive_kl_target": 0.01, "vtrace": True},
    A2C: {**ON_POLICY, "vtrace": True, "huber_delta": 0.5},
    DQN: {**SETTINGS, "munchausen": 0.5, "clip_rewards": 1.0, "tau": 0.5, "gamma": 0.9,
          "target_update_interval": 2, "learning_starts": 8, "batch_size": 4,
          "buffer_size": 64, "temperature": 0.1},
}  # fmt: skip
CHANGED = {
    PPO: {"gamma": 0.5, "lambda_": 0.5, "value_coefficient": 0.1, "clip_range": 1e-3,
          "entropy_coefficient": 0.2, "value_clip": 1e-3, "target_kl": 1e-9,
          "max_gradient_norm": 0.05, "learning_rate": 0.01, "kl_coefficient": 9.0,
          "adaptive_kl_target": 9.0, "adaptive_kl_tolerance": 0.9, "clip_rho": 0.1,
          "clip_c": 0.1},
    A2C: {"gamma": 0.5, "lambda_": 0.5, "value_coefficient": 0.1,
          "entropy_coefficient": 0.2, "max_gradient_norm": 0.05, "learning_rate": 0.01,
          "clip_rho": 0.1, "clip_c": 0.1, "huber_delta": 0.01},
    DQN: {"gamma": 0.1, "munchausen": 0.9, "temperature": 1.0, "tau": 0.1,
          "clip_rewards": 0.1, "target_update_interval": 1, "max_gradient_norm": 0.05,
          "learning_rate": 0.01},
}  # fmt: skip
CASES = [
    (agent_class, name, value)
    for agent_class in (PPO, DQN)  # A2C has little of its own
    for name, value in CHANGED[agent_class].items()
    if (agent_class, name) not in ((DQN, "gamma"), (DQN, "clip_rewards"))  # below
    if not name.startswith("adaptive_kl")  # count for the next rollout
]
KINDS = [PPO, A2C, DQN]


def make(agent_class, **changes):
    """DQN plays episodes of three steps that pay 1, 1.5 and 2."""
    env = Scripted([3]) if agent_class is DQN else ENV
    return agent_class.for_env(env, **{**FIRST[agent_class], **changes})


def learner(agent):
    """A function of no arguments that learns from fixed experience."""

    def learn_from_rollout():
        batch, _ = agent.prepare(rollout(0), agent.initial_learner_state(2))
        agent.learn_from(batch, SEED)

    def learn_from_replay():
        batch = transitions(actions=2)
        for _ in range(2):
            agent.update(batch, SEED)

    return learn_from_replay if isinstance(agent, DQN) else learn_from_rollout


def weights(agent):
    moved = [
        *agent.network.weights,
        *getattr(agent, "target_network", agent.network).weights,
    ]
    return [weight.numpy() for weight in moved]


def distance(one, other):
    return max(np.abs(a - b).max() for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def compiled():
    """`class: (agent, its compiled learner, its fresh variables and their values)`."""
    made = {}
    for agent_class in (PPO, DQN):
        agent = make(agent_class)
        learn = tf.function(learner(agent), autograph=False)
        state = [*agent.variables, *agent.optimizer.variables]
        values = [variable.numpy() for variable in state]
        learn()
        usual = weights(agent)
        made[agent_class] = agent, learn, state, values, usual
    return made


@pytest.mark.parametrize(("agent_class", "name", "value"), CASES)
def test_a_change_has_the_effect_of_an_agent_made_with_it(
    compiled, agent_class, name, value
):
    """Within a compiled function, which is not traced again."""
    agent, learn, state, values, usual = compiled[agent_class]
    for variable, first in zip(state, values, strict=True):
        variable.assign(first)
    before = getattr(agent, name)
    setattr(agent, name, value)
    try:
        learn()
    finally:
        setattr(agent, name, before)
    other = make(agent_class, **{name: value})
    learner(other)()
    assert distance(weights(agent), weights(other)) < 1e-5
    assert distance(weights(agent), usual) > 1e-4
    assert learn.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("agent_class", KINDS)
def test_all_numbers_are_tried(agent_class):
    """But for those whose effect other tests have, and the seed."""
    tried = {*CHANGED[agent_class], "seed", "learning_starts", "eta"}
    assert set(number_names(agent_class)) <= tried


@pytest.mark.parametrize(
    "agent_class", [DQN, *(pytest.param(k, marks=pytest.mark.long) for k in (PPO, A2C))]
)
def test_between_two_fits_nothing_is_compiled(agent_class):
    """And they end as the runs of an agent whose numbers were other ones from there."""
    env = Scripted([3], num_envs=2) if agent_class is DQN else ENV
    agent = make(agent_class)
    loop = agent.loop_on(env)
    agent.fit(env, steps=24, epochs=1, verbose=0)
    assert agent.loop_on(env) is loop
    traces = loop.num_traces
    for name, value in CHANGED[agent_class].items():
        setattr(agent, name, value)
        assert agent.loop_on(env) is loop, name
    history = agent.fit(env, steps=16, epochs=1, verbose=0).history
    assert agent.loop_on(env) is loop
    assert loop.num_traces == traces <= 1
    assert int(loop.carry.env_steps) == int(agent.env_steps) == 40
    assert history["learning_rate"] == pytest.approx([0.01])
    for name, value in CHANGED[agent_class].items():
        assert getattr(agent, name) == pytest.approx(value), name


def test_rewards_are_clipped_as_they_are_stored_at_the_time():
    agent = make(DQN)
    stored = tf.function(agent.stored, autograph=False)
    played = rollout(0)
    for limit in (1.0, 0.1, 0.5):
        agent.clip_rewards = limit
        expected = np.clip(played.reward, -limit, limit)
        np.testing.assert_array_equal(stored(played).reward, expected)
    assert stored.experimental_get_tracing_count() == 1


@pytest.mark.long
def test_none_for_a_number_is_another_program():
    agent = make(A2C, max_gradient_norm=1e-9)
    agent.fit(ENV, steps=8, epochs=1, verbose=0)
    loop, before = agent.loop_on(ENV), weights(agent)
    agent.max_gradient_norm = None
    agent.fit(ENV, steps=8, epochs=1, verbose=0)
    assert agent.loop_on(ENV) is not loop
    assert distance(weights(agent), before) > 1e-2
    assert agent.max_gradient_norm is None


@pytest.mark.parametrize(
    "agent_class", [A2C, pytest.param(DQN, marks=pytest.mark.long)]
)
def test_a_schedule_of_a_number_changes_what_is_learned(agent_class):
    """To the bit what an agent with that number learns."""
    name, value = ("entropy_coefficient", 0.5), ("gamma", 0.1)
    name, value = name if agent_class is A2C else value
    env = Scripted([3]) if agent_class is DQN else ENV
    results = []
    for changes, callbacks in (
        ({}, [krl.callbacks.ScheduleValue(name, lambda step: value)]),
        ({name: value}, []),
        ({}, []),
    ):
        if agent_class is DQN:  # the buffer's own gamma stays the same
            changes = {"buffer": ReplayBuffer(64, gamma=0.9, seed=0), **changes}
        agent = make(agent_class, **changes)
        history = agent.fit(env, 24, epochs=3, callbacks=callbacks, verbose=0).history
        results.append(weights(agent))
        if callbacks:
            assert history[name] == [value] * 3
    assert distance(results[0], results[1]) == 0.0
    assert distance(results[0], results[2]) > 1e-4


def test_a_schedule_follows_the_gradient_steps():
    decay = keras.optimizers.schedules.PolynomialDecay(0.5, 6, 0.0)
    callback = krl.callbacks.ScheduleValue("entropy_coefficient", decay)
    history = make(A2C).fit(ENV, 48, epochs=6, callbacks=[callback], verbose=0).history
    expected = [float(decay(step)) for step in range(1, 7)]
    assert history["entropy_coefficient"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("agent_class", "name", "value"),
    [
        (PPO, "gamma", 1.5), (PPO, "gamma", -0.1), (PPO, "gamma", float("nan")),
        (PPO, "gamma", "high"), (PPO, "gamma", None), (PPO, "gamma", True),
        (PPO, "lambda_", 2.0), (PPO, "clip_range", 0.0), (PPO, "clip_range", 1.0),
        (PPO, "value_clip", 0.0), (PPO, "target_kl", -1.0), (PPO, "seed", -1),
        (PPO, "max_gradient_norm", 0.0), (PPO, "learning_rate", -1.0),
        (PPO, "entropy_coefficient", float("nan")), (PPO, "seed", 0.5),
        (DQN, "tau", 0.0), (DQN, "tau", 1.1), (DQN, "munchausen", 2.0),
        (DQN, "temperature", 0.0), (DQN, "clip_rewards", 0.0),
        (DQN, "target_update_interval", 0), (DQN, "target_update_interval", 1.5),
        (DQN, "learning_starts", 0), (DQN, "gamma", 2.0),
    ],
    ids=str,
)  # fmt: skip
def test_out_of_range_is_refused_and_changes_nothing(
    compiled, agent_class, name, value
):
    agent = compiled[agent_class][0]
    before = getattr(agent, name)
    with pytest.raises(ValueError, match=f"`{name}`"):
        setattr(agent, name, value)
    assert getattr(agent, name) == before


@pytest.mark.parametrize("agent_class", KINDS)
def test_configuration_and_file_have_the_present_values(agent_class, tmp_path):
    agent = make(agent_class)
    for name, value in CHANGED[agent_class].items():
        setattr(agent, name, value)
    agent.seed = 2**31 + 5
    config = agent.get_config()
    agent.save(tmp_path / "agent.keras")
    loaded = krl.load_agent(tmp_path / "agent.keras")
    for name in number_names(agent_class):
        value = getattr(agent, name)
        assert config[name] == value == getattr(loaded, name)
        assert type(config[name]) in (int, float)
        assert (
            name == "seed"
            or value == {"eta": 0.9, **FIRST[agent_class], **CHANGED[agent_class]}[name]
        )  # to the last digit
    assert loaded.learning_rate == pytest.approx(0.01)


def test_resuming_keeps_the_newly_given_numbers_and_says_so(tmp_path):
    arguments = {"epochs": 2, "verbose": 0, "checkpoint_dir": tmp_path / "run"}
    make(A2C).fit(ENV, steps=16, **arguments)
    agent = make(A2C, entropy_coefficient=0.25, gamma=0.5)
    with pytest.warns(UserWarning, match="entropy_coefficient=0.25") as warned:
        agent.fit(ENV, steps=32, resume=True, **arguments)
    (message,) = [str(w.message) for w in warned]
    assert "entropy_coefficient=0.25 (was 0.0)" in message
    assert "gamma=0.5 (was 0.99)" in message
    assert (agent.entropy_coefficient, agent.gamma) == (0.25, 0.5)
    assert int(agent.env_steps) == 32


def test_resuming_takes_over_what_a_schedule_had_made_of_a_number(tmp_path):
    """It is not in the arguments, which are the same."""
    callbacks = [krl.callbacks.ScheduleValue("gamma", lambda step: 0.5)]
    arguments = {"epochs": 2, "verbose": 0, "checkpoint_dir": tmp_path / "run"}
    make(A2C).fit(ENV, steps=16, callbacks=callbacks, **arguments)
    agent = make(A2C)
    agent.fit(ENV, steps=32, resume=True, **arguments)
    assert agent.gamma == 0.5


class Owner:
    """Of numbers of all kinds."""

    number = Number(0.0, 1.0, open_high=True)
    integer = Number(integer=True)
    signed = Number(-3, 3, integer=True)
    optional = Number(0.0, optional=True)
    scheduled = Number(schedule=True)


def test_a_number_is_a_tensor_inside_and_a_number_outside():
    owner = Owner()
    owner.number, owner.integer = 0.1, 7
    seen = []

    @tf.function
    def inside():
        seen.append((owner.number, owner.integer))
        return owner.number, owner.integer

    for number, integer in ((0.1, 7), (0.7, 2**40)):
        owner.number, owner.integer = number, integer
        values = inside()
        assert float(values[0]) == np.float32(number)
        assert int(values[1]) == integer
        assert (owner.number, owner.integer) == (number, integer)
        assert (type(owner.number), type(owner.integer)) == (float, int)
    ((number, integer),) = seen
    assert (number.dtype, integer.dtype) == (tf.float32, tf.int64)


def test_what_else_a_number_may_be():
    owner = Owner()
    owner.optional, owner.signed = None, -2
    assert owner.optional is None
    owner.optional = 1
    assert owner.optional == 1.0
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 2)
    owner.scheduled = schedule
    assert owner.scheduled is schedule
    for name, value in (
        ("signed", 4), ("signed", 0.5), ("optional", -1.0), ("number", 1.0),
        ("number", schedule), ("number", None), ("integer", 0), ("scheduled", None),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"`{name}`"):
            setattr(owner, name, value)
    with pytest.raises(AttributeError, match="`number`"):
        owner.number  # noqa: B018
    assert set(number_names(Owner)) == {
        "number", "integer", "signed", "optional", "scheduled"
    }  # fmt: skip
    assert isinstance(Owner.number, Number)
