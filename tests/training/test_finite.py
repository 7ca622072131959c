"""Tests of `kerasrl2.training.finite`: NaN and infinity stop a run, unlearned."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.agents import A2C, PPO
from kerasrl2.errors import NonFiniteError
from kerasrl2.training.finite import Guard
from kerasrl2.types import Rollout
from tests.envs.worlds import ThreeSteps
from tests.training.worlds import Scripted

KINDS = {"observation": 1, "reward": 2, "loss": 3, "gradient": 4}


def rollout(**changes):
    """3 steps of 2 environments, zeros but for what `changes` says: index, value."""
    flags = np.zeros([3, 2], bool)
    arrays = {
        "observation": np.zeros([3, 2, 4], np.float32),
        "action": np.zeros([3, 2], np.int32),
        "reward": np.zeros([3, 2], np.float32),
        "terminated": flags,
        "truncated": flags,
        "valid": ~flags,
        "next_observation": np.zeros([3, 2, 4], np.float32),
        "last_observation": np.zeros([2, 4], np.float32),
    }
    for name, (index, value) in changes.items():
        arrays[name] = arrays[name].copy()
        arrays[name][index] = value
    return Rollout(**{name: tf.constant(array) for name, array in arrays.items()})


def told(report, *arguments):
    """What a new `Guard` remembers after a call of a method; None if healthy."""
    guard = Guard()
    getattr(guard, report)(*arguments)
    return None if guard.is_healthy() else guard._problem.numpy().tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["reward", (1, 1)], [KINDS["reward"], 7, 1, 1]),
        (["reward", (2, 0)], [KINDS["reward"], 7, 2, 0]),
        (["next_observation", (2, 1, 3)], [KINDS["observation"], 7, 2, 1]),
        # What is acted on at step 1 came out of step 0.
        (["observation", (1, 0, 2)], [KINDS["observation"], 7, 0, 0]),
    ],
)
def test_finds_the_step_and_the_environment(compiled, value, changes, expected):
    name, index = changes
    guard = Guard()
    report = compiled(guard.report_rollout)
    report(rollout(), tf.constant(6))
    assert guard.is_healthy()
    report(rollout(**{name: (index, value)}), tf.constant(7))
    assert guard._problem.numpy().tolist() == expected


def test_finds_a_last_observation():
    spoilt = rollout(last_observation=((1, 1), np.nan))
    assert told("report_rollout", spoilt, 0) == [KINDS["observation"], 0, 2, 1]


def test_finite_rollouts_and_rows_that_do_not_count_are_healthy():
    assert told("report_rollout", rollout(), 0) is None
    invalid = rollout(reward=((1, 1), np.nan), valid=((1, 1), False))
    assert told("report_rollout", invalid, 0) is None


def test_integer_observations_need_no_look():
    images = rollout()._replace(
        observation=tf.zeros([3, 2, 4], tf.uint8),
        next_observation=tf.zeros([3, 2, 4], tf.uint8),
        last_observation=tf.zeros([2, 4], tf.uint8),
    )
    assert told("report_rollout", images, 0) is None


def test_observations_in_parts_are_all_looked_at():
    """Even where only one of them can be anything but finite."""
    seen = rollout(next_observation=((1, 0, 2), np.inf))
    images = tf.zeros([3, 2, 5], tf.uint8)
    parts = seen._replace(
        observation={"a": images, "b": seen.observation},
        next_observation={"a": images, "b": seen.next_observation},
        last_observation={"a": images[0], "b": seen.last_observation},
    )
    assert told("report_rollout", parts, 4) == [
        KINDS["observation"] + 16,
        4,
        1,
        0,
    ]  # the second


@pytest.mark.parametrize(
    ("loss", "norm", "kind"),
    [(1.0, 1.0, 0), (np.nan, np.nan, 3), (np.inf, 1.0, 3), (1.0, np.inf, 4)],
)
def test_names_loss_before_gradient(loss, norm, kind):
    metrics = {"loss": tf.constant(loss), "gradient_norm": tf.constant(norm)}
    problem = told("report_metrics", metrics)
    assert (problem[0] if problem else 0) == kind
    assert told("report_step", loss, norm, 1) == ([kind, -1, 1, -1] if kind else None)


def test_the_first_report_is_kept_and_forgotten_once_it_is_told():
    guard, env = Guard(), Scripted([5], num_envs=2)
    for bad in (rollout(reward=((2, 1), np.nan)), rollout(reward=((0, 0), np.nan))):
        guard.report_rollout(bad, 7)
    guard.report_step(np.nan, 1.0, 0)
    guard.report_rollout(rollout(), 8)
    assert not guard.is_healthy()
    message = r"reward from environment 1 of 'Scripted' at its step 24 \(env step 48 of"
    with pytest.raises(NonFiniteError, match=message):
        guard.raise_if_found(env, 8, 3, ["optimizer"])
    assert guard.is_healthy()
    guard.raise_if_found(env, 8, 3, ["optimizer"])


def test_of_several_optimizers_the_one_is_named():
    guard = Guard()
    guard.report_step(1.0, np.inf, 1)
    message = "infinite gradient of the optimizer 'critic' while learning from 'Scripte"
    with pytest.raises(NonFiniteError, match=message):
        guard.raise_if_found(Scripted([5]), 8, 3, ["actor", "critic"])


def make_agent(env, agent_class=A2C, **hyperparameters):
    normalize = {"normalize_observations": True, "normalize_rewards": True}
    settings = {"hidden": (4,), "rollout_length": 4, "seed": 0, "xla": False}
    return agent_class.for_env(env, **{**normalize, **settings, **hyperparameters})


def weights_of(agent):
    variables = [*agent.weights, *agent.optimizer.variables]
    return [variable.numpy() for variable in variables if variable.name != "env_steps"]


def assert_same(before, after):
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def healthy():
    """What the rollout before the fault teaches."""
    env = Scripted([5, 3], num_envs=3)
    agent = make_agent(env)
    agent.fit(env, steps=12, epochs=1, verbose=0)
    return weights_of(agent)


@pytest.mark.parametrize(
    ("kind", "value", "xla"),
    [
        ("reward", -np.inf, False),
        pytest.param("next_observation", np.nan, False, marks=pytest.mark.long),
        pytest.param("observation", np.nan, False, marks=pytest.mark.long),
        pytest.param("observation", np.nan, True, marks=pytest.mark.long),
    ],
)
def test_a_tensorflow_environment_is_named_and_nothing_learned(
    kind, value, xla, healthy
):
    env = Scripted([5, 3], num_envs=3, fault=(kind, 7, 2, value))
    agent = make_agent(env, xla=xla)
    with pytest.raises(NonFiniteError) as error:
        agent.fit(env, steps=120, epochs=1, verbose=0)
    assert error.match(f"infinite {kind.removeprefix('next_')} from environment 2 of")
    assert error.match(r"'Scripted' at its step 7 \(env step 21 of the run\)")
    for a, b in zip(healthy, weights_of(agent), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


class Spoils(ThreeSteps):
    """Returns NaN in step number `at`, as `"reward"` or in the `"observation"`."""

    def __init__(self, kind, at):
        super().__init__()
        self.kind, self.at, self.count = kind, at, 0

    def step(self, action):
        self.count += 1
        observation, reward, *rest = super().step(action)
        if self.count == self.at:
            reward = np.nan if self.kind == "reward" else reward
            observation = observation * (np.nan if self.kind != "reward" else 1.0)
        return observation, reward, *rest


@pytest.mark.parametrize(
    "kind", [pytest.param("reward", marks=pytest.mark.long), "observation"]
)
def test_a_gymnasium_environment_is_named_and_nothing_learned(kind):
    made = iter([Spoils(kind, 0), Spoils(kind, 2)])
    agent = make_agent(ThreeSteps)
    before = weights_of(agent)
    with pytest.raises(NonFiniteError, match=f"{kind} from environment 1 .*step 2 "):
        agent.fit(lambda: next(made), steps=80, epochs=1, verbose=0, num_envs=2)
    assert_same(before, weights_of(agent))
    agent.fit(ThreeSteps, steps=16, epochs=1, verbose=0, num_envs=2)  # goes on
    assert not np.array_equal(before[0], weights_of(agent)[0])


@tf.custom_gradient
def spoil_gradient(x, bad):
    return x, lambda slope: (tf.where(bad, np.nan, 1.0) * slope, None)


@keras.saving.register_keras_serializable(package="tests")
class Spoiled(PPO):
    """Its loss is NaN from update 4 on."""

    kind = "loss"

    def compute_loss(self, batch, seed):
        loss, metrics = super().compute_loss(batch, seed)
        bad = self.optimizer.iterations >= 3
        if self.kind == "loss":
            return tf.where(bad, np.nan, 1.0) * loss, metrics
        return spoil_gradient(loss, bad), metrics


@keras.saving.register_keras_serializable(package="tests")
class SpoiledGradient(Spoiled):
    """Only its gradient is."""

    kind = "gradient"


@keras.saving.register_keras_serializable(package="tests")
class Watched(PPO):
    """Stops after update 3: what the weights must be."""

    def should_stop(self, metrics):
        return self.optimizer.iterations >= 3


@pytest.mark.long
def test_a_bad_update_is_not_taken():
    hyperparameters = {"batch_size": 8, "num_epochs": 5, "num_envs": 4, "hidden": ()}
    hyperparameters |= {"normalize_observations": False, "normalize_rewards": False}
    watched = make_agent("Chain-5", Watched, **hyperparameters)
    watched.fit("Chain-5", steps=16, epochs=1, verbose=0)
    for agent_class in (Spoiled, SpoiledGradient):
        agent = make_agent("Chain-5", agent_class, **hyperparameters)
        message = rf"{agent_class.kind} while .*'Chain-5' in iteration 1 of .*step 16\)"
        with pytest.raises(NonFiniteError, match=message):
            agent.fit("Chain-5", steps=64, epochs=1, verbose=0)
        assert int(agent.optimizer.iterations) == 3
        assert_same(*(a.network.get_weights() for a in (watched, agent)))
