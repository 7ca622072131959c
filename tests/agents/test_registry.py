"""The registry of algorithms: decorator, entry points, errors."""

import importlib
import sys

import keras
import pytest

import kerasrl2 as krl
from kerasrl2 import _algorithms, zoo
from kerasrl2.agents import (
    A2C,
    A3C,
    DDPG,
    DPPO,
    DQN,
    IMPALA,
    PPO,
    REDQ,
    RND,
    SAC,
    TD3,
    TQC,
    TRPO,
    Agent,
    ApeX,
    ApeXDPG,
    CrossQ,
    DiscreteSAC,
    QActorCritic,
    Rainbow,
    RandomAgent,
    Reinforce,
    algorithm,
    algorithms,
    register,
    registration,
)
from kerasrl2.zoo.build import tuned_agent
from tests.agents.hostile import refused
from tests.packages import install
from tests.training.runs import home_of

__all__ = ["refused"]  # a fixture
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
OWN = {"a2c": A2C, "dqn": DQN, "ppo": PPO, "rainbow": Rainbow, "trpo": TRPO}
OWN |= {"rnd": RND}
OWN |= {"q_actor_critic": QActorCritic, "reinforce": Reinforce}
OWN |= {"a3c": A3C, "random": RandomAgent}
OWN |= {"ddpg": DDPG, "td3": TD3, "sac": SAC, "discrete_sac": DiscreteSAC}
OWN |= {"apex": ApeX, "apex_dpg": ApeXDPG, "dppo": DPPO, "impala": IMPALA}
OWN |= {"tqc": TQC, "redq": REDQ, "crossq": CrossQ}
PLAIN = "import kerasrl2 as krl\nclass Agent(krl.agents.A2C): pass\n"


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(_algorithms, "REGISTERED", dict(_algorithms.REGISTERED))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("acme"):
            del sys.modules[name]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a distribution for the time of a test; see `install`."""

    def make(name, entry_points, **modules):
        directory = tmp_path / name
        install(directory, name, entry_points, **modules)
        monkeypatch.syspath_prepend(str(directory))
        importlib.invalidate_caches()

    return make


class TestOwn:
    def test_all_are_found(self):
        assert _algorithms.built_in() == sorted(OWN)
        assert algorithms() == OWN
        assert list(algorithms()) == zoo.algorithms() == _algorithms.names()

    def test_found_where_they_are(self):
        """The source that is read and the class that is imported agree."""
        for name, made in OWN.items():
            place = _algorithms.place(name)
            assert (place.module, place.class_name) == (made.__module__, made.__name__)
            assert registration(name).name == name
            assert getattr(krl.agents, made.__name__) is made
            assert made.__name__ in krl.agents.__all__

    def test_what_is_known_of_them(self):
        titles = {name: registration(name).title for name in OWN}
        assert titles["ppo"] == "Proximal policy optimisation"
        assert registration("ppo").actions == ("discrete", "continuous")
        assert registration("dqn").actions == ("discrete",)
        assert registration("rainbow").quick == registration("dqn").quick
        assert registration("rainbow").actions == ("discrete",)

    @pytest.mark.parametrize(
        "name",
        [
            "ppo",
            *(
                pytest.param(n, marks=pytest.mark.long)
                for n in sorted(OWN)
                if n != "ppo"
            ),
        ],
    )
    def test_quick_settings_learn(self, name):
        found = registration(name)
        env_id = home_of(name)
        agent = found.agent_class.for_env(env_id, seed=0, xla=False, **found.quick)
        rows = agent.loop_on(env_id).steps_per_iteration
        agent.fit(env_id, steps=max(rows, 80), epochs=1, verbose=0)
        for optimizer, _ in agent.optimizers().values():
            assert int(optimizer.iterations) > 0

    def test_unknown_names(self):
        with pytest.raises(ValueError, match=r"one of: a2c.*dqn.*Did you mean 'ppo'"):
            algorithm("pppo")
        for call in (zoo.settings, tuned_agent):
            with pytest.raises(ValueError, match="Did you mean 'rainbow'"):
                call("rainbw", "CartPole-v1")


class TestRegister:
    def test_a_class_of_a_running_program(self):
        @register("mine", title="My own", custom_objects=[len])
        class Mine(A2C):
            pass

        found = registration("mine")
        assert algorithm("mine") is algorithms()["mine"] is Mine
        assert "mine" in zoo.algorithms()
        assert (found.title, found.settings) == ("My own", None)
        assert found.quick == registration("a2c").quick
        assert found.quick is not registration("a2c").quick
        assert found.custom_objects == {"len": len}
        assert zoo.environments("mine") == []
        agent, _, steps = tuned_agent("mine", "CartPole-v1", seed=0)
        assert type(agent) is Mine
        assert steps == 100_000

    def test_the_nearest_registered_base_counts(self):
        @register("first", actions=["continuous"], quick={"num_envs": 3})
        class First(A2C):
            pass

        class Between(First):
            pass

        @register("second")
        class Second(Between):
            pass

        found = registration("second")
        assert (found.title, found.actions) == ("Second", ("continuous",))
        assert found.quick == {"num_envs": 3}
        assert register("none", quick={})(Between)
        assert registration("none").quick == {}

    def test_defined_anew_as_in_a_notebook(self):
        def define():
            @register("mine")
            class Mine(A2C):
                pass

            return Mine

        define()
        assert define() is algorithm("mine")

    def test_settings(self):
        tuned = {
            "CartPole-v1": {"num_envs": 2, "steps": 70, "learning_rate": "linear 1"}
        }

        @register("mine", settings=tuned)
        class Mine(A2C):
            pass

        assert zoo.environments("mine") == ["CartPole-v1"]
        assert zoo.settings("mine", "Nowhere-v0") == {}
        agent, env, steps = tuned_agent("mine", "CartPole-v1", seed=0)
        assert (agent.num_envs, env.num_envs, steps) == (2, 2, 70)
        assert agent.optimizer._learning_rate.decay_steps == 7

    @pytest.mark.parametrize("name", ["", "My", "a-b", "../a", 3, "a.b", "1a"])
    def test_names(self, name):
        with pytest.raises(ValueError, match="Expected an algorithm's name"):
            register(name)

    @pytest.mark.parametrize(
        ("made", "keywords", "message"),
        [
            (3, {}, "Expected a subclass of `kerasrl2.agents.Agent` .*'mine'.* 3"),
            (dict, {}, "Received: <class 'dict'>"),
            (Agent, {}, "Agent without for_env"),
            (PPO, {"actions": "discrete"}, "`actions` as a sequence"),
            (PPO, {"actions": ()}, "`actions` as a sequence"),
            (PPO, {"actions": ["both"]}, r"Received: \['both'\]"),
            (PPO, {"settings": 3}, "`settings` as a dictionary or the path"),
        ],
    )
    def test_wrong_arguments(self, made, keywords, message):
        with pytest.raises(ValueError, match=message):
            register("mine", **keywords)(made)
        assert "mine" not in zoo.algorithms()

    def test_a_name_that_is_taken(self):
        class Mine(PPO):
            pass

        with pytest.raises(
            ValueError, match=r"'ppo' for .*Mine, which kerasrl2.agents"
        ):
            register("ppo")(Mine)
        assert algorithm("ppo") is PPO

    @pytest.mark.parametrize(
        ("settings", "message"),
        [({"A": 3}, "'A': 3"), ({3: {}}, "3: {}"), ("none.yaml", "none.yaml")],
    )
    def test_wrong_settings(self, settings, message):
        @register("mine", settings=settings)
        class Mine(A2C):
            pass

        with pytest.raises(ValueError, match=message):
            zoo.settings("mine", "CartPole-v1")


class TestEntryPoints:
    def test_found_without_being_imported(self, package):
        package("acme-rl", {"acme": "acme_a:Agent"}, acme_a="raise SystemExit")
        assert zoo.algorithms() == sorted([*OWN, "acme"])
        assert _algorithms.place("acme").owner == "acme-rl 1.0"
        assert algorithm("ppo") is PPO
        assert zoo.settings("ppo", "CartPole-v1")
        assert "acme_a" not in sys.modules

    def test_no_more_than_a_class_is_needed(self, package):
        package("acme-rl", {"acme": "acme_b:Agent"}, acme_b=PLAIN)
        assert issubclass(algorithms()["acme"], A2C)
        found = registration("acme")
        assert found.quick == registration("a2c").quick
        assert (found.title, found.settings) == ("Agent", None)

    def test_a_yaml_file_beside_the_class(self, package, tmp_path):
        source = PLAIN.replace(
            "class", "@krl.agents.register('acme', settings='t.yaml')\nclass"
        )
        package("acme-rl", {"acme": "acme_c:Agent"}, acme_c=source)
        file = tmp_path / "acme-rl" / "t.yaml"
        file.write_text("CartPole-v1: {gamma: 0.5}")
        assert zoo.settings("acme", "CartPole-v1") == {"gamma": 0.5}
        for text, message in (("a: [", "readable YAML in"), ("3", "Received: int")):
            file.write_text(text)
            with pytest.raises(ValueError, match=message):
                zoo.settings("acme", "CartPole-v1")
        file.write_text("")
        assert zoo.environments("acme") == []

    @pytest.mark.parametrize(
        ("value", "source", "message"),
        [
            ("acme_d:Agent", "import nothing_of_that_name", "ModuleNotFoundError: No"),
            ("acme_d:Agent", "1 / 0", "ZeroDivisionError: division"),
            ("acme_d:Agnt", PLAIN, "has no attribute 'Agnt'"),
            ("acme_nowhere:Agent", PLAIN, "No module named 'acme_nowhere'"),
            ("acme_d", PLAIN, "acme_d: of acme-rl 1.0"),
            ("acme_d:Agent", "class Agent: pass", "Expected a subclass of"),
            ("acme_d:Agent", "Agent = 3", "Expected a subclass of"),
            ("acme_d:Agent", PLAIN + "krl.agents.register('other')(Agent)",
             "'acme' as the entry point, 'other' in `register`"),
        ],
    )  # fmt: skip
    def test_faults_are_told_with_the_distribution(
        self, package, value, source, message
    ):
        package("acme-rl", {"acme": value}, acme_d=source)
        for call in (lambda: algorithm("acme"), algorithms):
            with pytest.raises(ValueError, match=message) as error:
                call()
            assert "acme-rl 1.0" in str(error.value)
            assert str(error.value).startswith("Expected")
        assert algorithm("ppo") is PPO

    def test_a_name_of_two_packages(self, package):
        package("acme-rl", {"same": "acme_e:Agent"}, acme_e=PLAIN)
        package("acme-other", {"same": "acme_f:Agent"}, acme_f=PLAIN)
        with pytest.raises(ValueError, match="Uninstall or rename") as error:
            algorithm("same")
        assert "acme-rl 1.0" in str(error.value)
        assert "acme-other 1.0" in str(error.value)

    def test_a_name_of_kerasrl2(self, package):
        package("acme-rl", {"ppo": "acme_g:Agent"}, acme_g=PLAIN)
        with pytest.raises(
            ValueError, match=r"kerasrl2.agents.ppo:PPO, acme_g:Agent of"
        ):
            algorithm("ppo")
        assert algorithm("a2c") is A2C

    def test_a_name_that_is_not_allowed(self, package):
        package("acme-rl", {"My Own": "acme_h:Agent"}, acme_h=PLAIN)
        with pytest.raises(
            ValueError, match=r"Expected an algorithm's name.*acme-rl 1.0"
        ):
            algorithm("My Own")


HOLDS = """
import keras
import kerasrl2 as krl

@keras.saving.register_keras_serializable(package="acme")
def bent(x):
    return keras.ops.tanh(2 * x)

@krl.agents.register("acme", custom_objects=[bent])
@keras.saving.register_keras_serializable(package="acme")
class Holder(krl.agents.A2C):
    pass

class Other(krl.agents.A2C):
    pass
"""


class TestLoading:
    @pytest.fixture
    def saved(self, package, tmp_path):
        """A function that saves an agent of a class of an installed package."""
        package("acme-rl", {"acme": "acme_holds:Holder"}, acme_holds=HOLDS)
        module = importlib.import_module("acme_holds")

        def save(class_name, activation=None):
            inputs = keras.Input([4])
            x = keras.layers.Dense(3, activation or module.bent)(inputs)
            outputs = [keras.layers.Dense(2)(x), keras.layers.Dense(1)(x)]
            agent = getattr(module, class_name).for_env(
                "CartPole-v1", network=keras.Model(inputs, outputs)
            )
            agent.save(tmp_path / "agent.keras")
            return tmp_path / "agent.keras"

        return save

    def test_installed_algorithms_need_no_custom_objects(self, saved):
        loaded = krl.load_agent(saved("Holder"))
        assert type(loaded) is algorithm("acme")

    def test_not_imported_before(self, saved):
        """As in a new process: only what the file names is imported."""
        path = saved("Holder")
        before = sys.modules.pop("acme_holds").Holder
        del _algorithms.REGISTERED["acme"]
        for name in [n for n in keras.saving.get_custom_objects() if "acme>" in n]:
            del keras.saving.get_custom_objects()[name]
        loaded = krl.load_agent(path)
        assert type(loaded).__name__ == "Holder"
        assert type(loaded) is not before

    def test_other_classes_of_the_package_are_refused(self, saved, refused):
        refused(saved("Other"), "the class 'Other'")

    def test_what_is_not_listed_is_refused(self, saved, refused):
        def other(x):
            return x

        refused(saved("Holder", other), "the function 'other'")
