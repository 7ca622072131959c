"""What is asked of agents, and what is told to those who leave something out."""

import keras
import pytest
import tensorflow as tf

from kerasrl2 import layers
from kerasrl2.agents import A2C, DQN, PPO
from kerasrl2.agents.hooks import _RENAMED, check_hooks
from kerasrl2.distributions import Categorical
from kerasrl2.training import contract
from kerasrl2.training.contract import check_contract

SETTINGS = {"hidden": (), "seed": 0, "xla": False}
PROTOCOLS = [
    contract.Player,
    contract.Learner,
    contract.OnPolicyLearner,
    contract.OffPolicyLearner,
]


def on_policy(agent_class=A2C, **more):
    return agent_class.for_env("Chain-5", **SETTINGS, **more)


@pytest.fixture(scope="module")
def agents():
    return {"on": on_policy(), "off": DQN.for_env("Chain-5", **SETTINGS)}


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.__name__)
def test_agents_of_the_package_have_what_their_loops_ask_for(agents, protocol):
    for kind, agent in agents.items():
        other = {"on": "OffPolicyLearner", "off": "OnPolicyLearner"}[kind]
        if protocol.__name__ != other:
            check_contract(agent, protocol)


@pytest.mark.parametrize(
    ("kind", "protocol", "missing"),
    [
        ("on", contract.OffPolicyLearner, "buffer"),
        ("off", contract.OnPolicyLearner, "rollout_length"),
    ],
)
def test_what_is_missing_is_named_with_class_and_protocol(
    agents, kind, protocol, missing
):
    agent = agents[kind]
    with pytest.raises(
        ValueError, match=f"Expected an agent with `{missing}`"
    ) as error:
        check_contract(agent, protocol)
    assert error.match(f"Received: {type(agent).__name__}, which has none")
    assert error.match(f"training.{protocol.__name__}` lists")


def members(protocol):
    """Names of attributes and methods that a protocol asks for."""
    names = {}
    for owner in protocol.__mro__:
        names |= getattr(owner, "__annotations__", {})
        names |= {n: 0 for n, v in vars(owner).items() if callable(v)}
    return [name for name in names if not name.startswith("_")]


class Without:
    """An agent as another, without one of its members."""

    def __init__(self, agent, name):
        self._agent, self._without = agent, name

    def __getattr__(self, name):
        if name == self._without:
            raise AttributeError(name)
        return getattr(self._agent, name)


@pytest.mark.parametrize(
    ("kind", "protocol", "name"),
    [
        (kind, protocol, name)
        for kind, protocol in (("on", PROTOCOLS[2]), ("off", PROTOCOLS[3]))
        for name in members(protocol)
    ],
)
def test_each_member_is_asked_for(agents, kind, protocol, name):
    with pytest.raises(ValueError, match=rf"Expected an agent with `{name}[`(].*With"):
        check_contract(Without(agents[kind], name), protocol)


@pytest.mark.parametrize(
    ("choose", "received"),
    [
        (lambda self, outputs, seed: 0, r"choose\(outputs, seed\)"),
        (lambda self, a, b, c, d: 0, r"choose\(a, b, c, d\)"),
        (lambda self, *, a, b, c: 0, r"choose\(\*, a, b, c\)"),
        (lambda self, a, b, c, *, more: 0, r"choose\(a, b, c, \*, more\)"),
        (lambda self, a, b, c, d=1, *, more=2: 0, None),
        (lambda self, *arguments: 0, None),
        (lambda self, a, **keywords: 0, r"choose\(a, \*\*keywords\)"),
    ],
)  # fmt: skip
def test_a_method_that_cannot_be_called_is_named(choose, received):
    own = type("Own", (A2C,), {"choose": choose})
    agent = on_policy(own)
    if received is None:
        check_contract(agent, contract.Player)
        return
    message = rf"`choose\(outputs, seed, env_steps\)` of Own. Received: `{received}`"
    for attempt in (
        lambda: check_contract(agent, contract.Player),
        lambda: agent.fit("Chain-5", steps=5, epochs=1, verbose=0),
        lambda: agent.evaluate("Chain-5", episodes=1),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()


def test_a_plain_attribute_is_no_method():
    agent = on_policy()
    agent.greedy = "yes"
    with pytest.raises(ValueError, match=r"an agent with `greedy\(outputs\)`.*A2C"):
        check_contract(agent, contract.Player)


@pytest.mark.parametrize("old", list(_RENAMED))
def test_an_override_by_an_earlier_name_is_told_the_new_one(old):
    own = type("Own", (PPO,), {old: lambda self, *arguments: None})
    message = f"Expected `{_RENAMED[old]}` in Own. Received: `{old}`"
    with pytest.raises(ValueError, match=message):
        on_policy(own)
    derived = type("Derived", (own,), {})  # inherited, it is still called by nobody
    with pytest.raises(ValueError, match=f"in Derived. Received: `{old}`"):
        on_policy(derived)


@pytest.mark.parametrize("old", list(_RENAMED))
def test_an_earlier_name_is_answered_with_the_new_one(agents, old):
    with pytest.raises(AttributeError, match=f"'A2C'.*'{old}'.*'{_RENAMED[old]}' now"):
        getattr(agents["on"], old)
    assert not hasattr(agents["on"], old)
    with pytest.raises(AttributeError, match="no attribute 'something'"):
        agents["on"].something  # noqa: B018


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("compute_loss", "batch", "batch, seed"),
        ("compute_gradients", "batch", "batch, seed"),
        ("update", "batch", "batch, seed"),
        ("apply_gradients", "gradients, rate", "gradients"),
    ],
)
def test_a_method_of_learning_with_other_arguments(name, wrong, right):
    method = eval(f"lambda self, {wrong}: None")
    own = type("Own", (PPO,), {name: method})
    message = rf"`{name}\(self, {right}\)` in Own. Received: `{name}\(self, {wrong}\)`"
    with pytest.raises(ValueError, match=message):
        on_policy(own)
    check_hooks(type("Other", (PPO,), {name: lambda self, *a, **k: None}))
    check_hooks(type("Other", (PPO,), {name: eval(f"lambda self, {right}: None")}))


@pytest.mark.parametrize(
    "keywords", [{"loss": "mse"}, {"metrics": ["mae"]}, {"jit_compile": True}], ids=str
)
def test_compile_takes_an_optimizer_and_nothing_else(keywords):
    agent, name = on_policy(), next(iter(keywords))
    before = agent.optimizer
    with pytest.raises(ValueError, match=rf"`compile\(optimizer\)` alone.*A2C.*{name}"):
        agent.compile(optimizer="adam", **keywords)
    assert agent.optimizer is before
    with pytest.raises(ValueError, match="optimizer identifier: 3"):
        agent.compile(optimizer=3)
    assert agent.optimizer is before


def test_an_update_with_other_metrics_than_listed_is_told_so():
    class Own(A2C):
        metric_names = (*A2C.metric_names, "more")

    class Long(A2C):
        def update(self, batch, seed):
            metrics, none = super().update(batch, seed)
            return {**metrics, "loss": tf.ones([3])}, none

    for own, message in (
        (Own, "Own.*'more'.*Received"),
        (Long, r"Long.*`loss`.*\(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            on_policy(own).fit("Chain-5", steps=40, epochs=1, verbose=0)


class Forgetful(A2C):
    def __init__(self, *args, bonus=0.0, **kwargs):
        super().__init__(*args, **kwargs)


class Late(A2C):
    """Keeps its argument after the base's constructor, as is usual."""

    readied = 0

    def __init__(self, *args, bonus=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.bonus = bonus

    def ready(self):
        super().ready()
        self.readied += 1


class Later(Late):
    def __init__(self, *args, malus=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.malus = malus


def test_an_argument_that_is_not_kept_is_named():
    network = layers.actor_critic((5,), 2, hidden=())
    with pytest.raises(ValueError, match=r"argument of Forgetful.*'bonus'") as error:
        Forgetful(network, Categorical(2))
    assert error.match("Add `self.bonus = bonus` to the constructor")


def test_what_needs_the_whole_agent_happens_once():
    for own in (Late, Later):
        agent = on_policy(own, bonus=2.0)
        assert agent.readied == 1
        assert agent.optimizer.built
        assert own.from_config(agent.get_config()).bonus == 2.0
        assert agent.built


def test_the_network_is_checked_where_a_subclass_makes_it():
    class Own(PPO):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.network = keras.Sequential([keras.Input([5]), keras.layers.Dense(3)])

    with pytest.raises(ValueError, match=r"first output is \[B, 2\].*\(None, 3\)"):
        on_policy(Own)
