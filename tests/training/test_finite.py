"""Tests of `kerasrl2.training.finite`: NaN and infinity stop a run, unlearned."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.agents import A2C, PPO
from kerasrl2.errors import NonFiniteError
from kerasrl2.training.finite import find_in_metrics, find_in_rollout, is_healthy
from kerasrl2.types import Rollout
from tests.envs.worlds import ThreeSteps
from tests.training.worlds import Scripted

KINDS = {"observation": 1, "reward": 2, "loss": 3, "gradient": 4}


def rollout(**changes):
    """3 steps of 2 environments, zeros but for what `changes` says."""
    flags = np.zeros([3, 2], bool)
    arrays = {
        "observation": np.zeros([3, 2, 4], np.float32),
        "action": np.zeros([3, 2], np.int32),
        "reward": np.zeros([3, 2], np.float32),
        "terminated": flags,
        "truncated": flags,
        "valid": ~flags,
        "next_observation": np.zeros([3, 2, 4], np.float32),
    }
    for name, (index, value) in changes.items():
        arrays[name] = arrays[name].copy()
        arrays[name][index] = value
    return Rollout(**{name: tf.constant(array) for name, array in arrays.items()})


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
    find = compiled(find_in_rollout)
    problem = find(rollout(**{name: (index, value)}), tf.zeros([2, 4]), tf.constant(7))
    assert problem.numpy().tolist() == expected
    assert not is_healthy(problem)


def test_finds_a_last_observation():
    last = tf.constant([[0.0] * 4, [0.0, np.nan, 0.0, 0.0]])
    assert find_in_rollout(rollout(), last, 0).numpy().tolist() == [1, 0, 2, 1]


def test_finite_rollouts_and_rows_that_do_not_count_are_healthy():
    assert is_healthy(find_in_rollout(rollout(), tf.zeros([2, 4]), 0))
    invalid = rollout(reward=((1, 1), np.nan), valid=((1, 1), False))
    assert is_healthy(find_in_rollout(invalid, tf.zeros([2, 4]), 0))


def test_integer_observations_need_no_look():
    images = rollout()._replace(
        observation=tf.zeros([3, 2, 4], tf.uint8),
        next_observation=tf.zeros([3, 2, 4], tf.uint8),
    )
    assert is_healthy(find_in_rollout(images, tf.zeros([2, 4], tf.uint8), 0))


@pytest.mark.parametrize(
    ("loss", "norm", "kind"),
    [(1.0, 1.0, 0), (np.nan, np.nan, 3), (np.inf, 1.0, 3), (1.0, np.inf, 4)],
)
def test_names_loss_before_gradient(loss, norm, kind):
    metrics = {"loss": tf.constant(loss), "gradient_norm": tf.constant(norm)}
    assert int(find_in_metrics(metrics, 0)[0]) == kind


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
        ("next_observation", np.nan, False),
        ("observation", np.nan, True),
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


@pytest.mark.parametrize("kind", ["reward", "observation"])
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
    """Its loss, or only its gradient, is NaN from update 4 on."""

    kind = None

    def compute_loss(self, batch):
        loss, metrics = super().compute_loss(batch)
        bad = self.optimizer.iterations >= 3
        if self.kind == "loss":
            return tf.where(bad, np.nan, 1.0) * loss, metrics
        return spoil_gradient(loss, bad), metrics


@keras.saving.register_keras_serializable(package="tests")
class Watched(PPO):
    """Stops after update 3: what the weights must be."""

    def stops(self, metrics):
        return self.optimizer.iterations >= 3


def test_a_bad_update_is_not_taken(monkeypatch):
    hyperparameters = {"batch_size": 8, "num_epochs": 5, "num_envs": 4, "hidden": ()}
    hyperparameters |= {"normalize_observations": False, "normalize_rewards": False}
    watched = make_agent("Chain-5", Watched, **hyperparameters)
    watched.fit("Chain-5", steps=16, epochs=1, verbose=0)
    for kind in ("loss", "gradient"):
        monkeypatch.setattr(Spoiled, "kind", kind)
        agent = make_agent("Chain-5", Spoiled, **hyperparameters)
        message = rf"{kind} while .*'Chain-5' in iteration 1 of .*\(env step 16\)"
        with pytest.raises(NonFiniteError, match=message):
            agent.fit("Chain-5", steps=64, epochs=1, verbose=0)
        assert int(agent.optimizer.iterations) == 3
        assert_same(*(a.network.get_weights() for a in (watched, agent)))
