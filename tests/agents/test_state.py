"""What agents are made of, and which of them can share compiled programs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2._state import state_of
from kerasrl2.agents import A2C, DQN, PPO
from kerasrl2.training import programs

ENV = "CartPole-v1"
SETTINGS = {"hidden": (4,), "num_envs": 2, "xla": False}
ON_POLICY = {**SETTINGS, "rollout_length": 4, "seed": 0}
KINDS = {
    "a2c": (A2C, {"rollout_length": 4, "normalize_observations": True}),
    "ppo": (PPO, {"rollout_length": 4, "batch_size": 4, "normalize_rewards": True}),
    "dqn": (DQN, {"buffer_size": 64, "learning_starts": 8, "batch_size": 4}),
    "parts": (DQN, {"buffer_size": 64, "prioritized": True, "noisy": True,
                    "dueling": True, "distribution": "implicit_quantile",
                    "num_atoms": 3}),
}  # fmt: skip


def make(kind="a2c", **changes):
    agent_class, more = KINDS[kind]
    return agent_class.for_env(ENV, **{**SETTINGS, "seed": 0, **more, **changes})


def structure(agent):
    return agent.loop(agent.environment(ENV, 2)).state().structure


@pytest.fixture
def no_programs():
    """As in a new process: nothing is compiled yet."""
    programs._programs.clear()


def first_difference(one, other):
    pairs = zip(one, other, strict=False)
    return next(((a, b) for a, b in pairs if a != b), len(one) == len(other))


@pytest.mark.parametrize("name", KINDS)
def test_agents_made_alike_have_equal_names_and_structures(name):
    """Whatever Keras has counted in between, which other processes have not."""
    states = []
    for _ in range(2):
        agent = make(name)
        loop = agent.loop(agent.environment(ENV, 2))
        states.append(loop.state())
        keras.Sequential([keras.Input([2]), keras.layers.Dense(3)]).compile("adam")
    one, other = states
    assert list(one.variables) == list(other.variables)
    assert one.unsaved == other.unsaved
    assert first_difference(one.structure, other.structure) is True
    for name, variable in one.variables.items():
        twin = other.variables[name]
        assert (variable.shape, variable.dtype) == (twin.shape, twin.dtype)
        assert variable is not twin


@pytest.mark.parametrize("name", KINDS)
def test_all_variables_of_an_agent_are_found(name):
    agent = make(name)
    state = state_of(agent=agent, optimizers=agent.optimizers())
    found = {id(variable) for variable in state.variables.values()}
    known = [*agent.variables, *agent.optimizer.variables]
    known += getattr(agent, "target_network", agent).variables
    assert {id(variable.value) for variable in known} <= found


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("a2c", {"seed": 7}),
        ("a2c", {"gamma": 0.5, "entropy_coefficient": 0.1, "lambda_": 0.5}),
        ("a2c", {"learning_rate": 0.1, "max_gradient_norm": 1.0}),
        ("ppo", {"clip_range": 0.1}),
        ("dqn", {"seed": 7, "tau": 0.5, "target_update_interval": 3}),
    ],
    ids=str,
)
def test_what_makes_no_other_program(name, changes):
    found = first_difference(structure(make(name)), structure(make(name, **changes)))
    assert found is True


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("a2c", {"hidden": (5,)}),
        ("a2c", {"hidden": (4, 4)}),
        ("a2c", {"activation": "relu"}),
        ("a2c", {"shared_trunk": True}),
        ("a2c", {"normalize_observations": False}),
        ("a2c", {"normalize_advantages": True}),
        ("a2c", {"n_step": 2}),
        ("a2c", {"max_gradient_norm": None}),
        ("a2c", {"optimizer": keras.optimizers.Adam()}),
        ("a2c", {"optimizer": keras.optimizers.RMSprop(rho=0.8, epsilon=1e-5)}),
        ("a2c", {"learning_rate": keras.optimizers.schedules.CosineDecay(0.1, 5)}),
        ("ppo", {"batch_size": 8}),
        ("ppo", {"num_epochs": 3}),
        ("ppo", {"target_kl": 0.1}),
        ("ppo", {"clip_range": keras.optimizers.schedules.CosineDecay(0.1, 5)}),
        ("dqn", {"double": True}),
        ("dqn", {"munchausen": 0.9}),
        ("dqn", {"batch_size": 8}),
        ("dqn", {"buffer_size": 65}),
        ("dqn", {"n_step": 2}),
        ("dqn", {"final_epsilon": 0.01}),
        ("dqn", {"exploration": "boltzmann"}),
        ("parts", {"alpha": 0.1}),
        ("parts", {"num_atoms": 4}),
        ("parts", {"dueling": False}),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_what_makes_another_program(name, changes):
    assert structure(make(name)) != structure(make(name, **changes))


def test_schedules_count_by_what_they_say():
    decay = keras.optimizers.schedules.CosineDecay
    one, same, other = (
        structure(make("ppo", clip_range=decay(0.1, steps))) for steps in (5, 5, 6)
    )
    assert one == same
    assert one != other


def named_network(prefix, units=3):
    """A network whose layers bear names of one's own."""
    inputs = keras.Input([4], name=f"{prefix}_input")
    x = keras.layers.Dense(units, name=f"{prefix}_trunk")(inputs)
    outputs = [keras.layers.Dense(n, name=f"{prefix}_{n}")(x) for n in (2, 1)]
    return keras.Model(inputs, outputs, name=prefix)


def test_names_of_layers_do_not_count():
    one, other, wider = (
        structure(make("a2c", network=named_network(*arguments)))
        for arguments in (("mine",), ("yours",), ("mine", 4))
    )
    assert first_difference(one, other) is True
    assert one != wider


class Scaled(A2C):
    """A plain attribute that its loss is multiplied by."""

    factor = 1.0

    def compute_loss(self, batch, seed):
        loss, metrics = super().compute_loss(batch, seed)
        return self.factor * loss, metrics


def scaled(factor, rate=0.05):
    agent = Scaled.for_env(ENV, optimizer=keras.optimizers.SGD(rate), **ON_POLICY)
    agent.factor = factor
    return agent


def trained(agent):
    agent.fit(ENV, steps=24, epochs=1, verbose=0)
    return [weight.numpy() for weight in agent.network.weights]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.long
def test_a_plain_attribute_of_another_value_does_not_share(no_programs):
    agents = [scaled(factor) for factor in (1.0, 0.0, 1.0)]
    before = agents[1].network.get_weights()
    weights = [trained(agent) for agent in agents]
    assert same(weights[0], weights[2])
    assert same(weights[1], before)  # its loss is zero
    assert [a.loop_on(ENV).num_traces for a in agents] == [1, 1, 0]
    agents[2].factor = 0.0  # nor does the same agent keep its loop
    again = trained(agents[2])
    assert same(again, weights[2])


@pytest.mark.parametrize("attribute", [[1], {"a": (1, "b")}, np.ones(3), tf.ones(2)])
def test_attributes_of_users_count(attribute):
    agents = [make() for _ in range(3)]
    agents[0].mine, agents[1].mine = attribute, attribute
    one, same, without = map(structure, agents)
    assert one == same
    assert one != without


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["a2c", *(pytest.param(n, marks=pytest.mark.long) for n in ("ppo", "dqn"))]
)
@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.long)])
def test_the_second_agent_compiles_nothing_and_learns_to_the_bit(
    name, xla, no_programs
):
    """The same as if it had compiled by itself, with numbers and a seed of its own."""
    changes = {"seed": 3, "learning_rate": 0.05, "max_gradient_norm": 0.3, "xla": xla}
    make(name, xla=xla).fit(ENV, steps=24, epochs=1, verbose=0)
    results, traces, scores = [], [], []
    for _ in range(2):
        agent = make(name, **changes)
        results.append(trained(agent))
        traces.append(agent.loop_on(ENV).num_traces)
        scores.append(agent.evaluate(ENV, episodes=2))
        programs._programs.clear()
    assert traces == [0, 1]
    assert same(*results)
    assert scores[0] == scores[1]


def test_agents_that_share_a_program_stay_apart():
    """Each learns on its own variables, in turns."""
    one, other, alone = scaled(1.0), scaled(1.0), scaled(1.0)
    first = trained(one)
    untouched = [weight.numpy() for weight in other.network.weights]
    assert not same(first, untouched)
    assert same(first, trained(other))
    assert same(first, [weight.numpy() for weight in one.network.weights])
    second = trained(one)
    assert not same(first, second)
    trained(alone)
    assert same(trained(alone), second)
    assert [a.loop_on(ENV).num_traces for a in (other, alone)] == [0, 0]


outside = tf.Variable(1.0, trainable=False, name="outside")


class Lost(A2C):
    def compute_loss(self, batch, seed):
        loss, metrics = super().compute_loss(batch, seed)
        outside.assign_add(1.0)
        return loss * outside, metrics


class Kept(Lost):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.parts = {"of": [outside]}


def test_a_variable_that_no_checkpoint_would_hold_is_named():
    agent = Lost.for_env(ENV, **ON_POLICY)
    with pytest.raises(ValueError, match=r"outside:?0? float32\[\].*as an attribute"):
        agent.fit(ENV, steps=8, epochs=1, verbose=0)
    kept = Kept.for_env(ENV, **ON_POLICY)
    before = float(outside)
    kept.fit(ENV, steps=8, epochs=1, verbose=0)
    assert float(outside) == before + 1.0
    assert any(variable is outside for variable in state_of(a=kept).variables.values())


@pytest.mark.parametrize("name", KINDS)
def test_what_keras_saves_is_not_saved_twice(name):
    """Of an agent of the package there is nothing else but its numbers."""
    state = state_of(agent=make(name))
    unsaved = {n for n in state.unsaved if not n.startswith("agent/buffer/")}
    assert unsaved
    own = "agent/_numbers/", "agent/reward_scaling/_numbers/"
    assert all(n.startswith(own) for n in unsaved), unsaved


@pytest.mark.parametrize("kind", ["a2c", "ppo", "dqn"])
def test_a_call_of_the_agent_keeps_what_was_compiled_for_acting(kind):
    agent = make(kind)
    agent.act(np.zeros(4))
    compiled = agent._runtime._acting
    assert compiled
    for _ in range(2):
        agent(np.zeros([3, 4], np.float32))
        agent.seed = 5
        assert agent._runtime._acting is compiled
    agent.head = agent.head  # a part, for all that is known another one
    assert agent._runtime._acting is not compiled
