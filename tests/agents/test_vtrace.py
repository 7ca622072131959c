"""Tests of V-trace as an argument of actor-critic agents: rollouts of old policies."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.agents import A2C, PPO
from kerasrl2.training.collect import begin_episodes, collect
from tests import newcomers
from tests.agents.harness import SEED
from tests.newcomers.recurrent_ppo import RecurrentPPO

newcomers.forget()  # what importing one has registered

STEPS, ENVS = 20, 3
SMALL = {"hidden": (5,), "num_envs": ENVS, "rollout_length": STEPS, "xla": False}


def world():
    """Episodes of at most seven steps, which reach a terminal state now and then."""
    return envs.make("Chain-5", num_envs=ENVS, max_episode_steps=7)


def made(kind=A2C, seed=0, spread=0.0, **settings):
    """An agent; `spread` sets its policy's last biases apart."""
    if kind is PPO:
        settings = {"batch_size": 60, **settings}
    agent = kind.for_env(world(), seed=seed, **{**SMALL, **settings})
    agent.network.get_layer("policy").bias.assign([-spread, spread])
    return agent


def played(agent, seed=SEED, **options):
    env = world()
    state = begin_episodes(agent, env, seed)
    return collect(agent, env, state, STEPS, seed, keep="outputs", **options)[1]


def naive(agent, rollout, behaviour, lambda_, clip_rho, clip_c):
    """V-trace of one environment after the other, step by step from the end."""
    gamma = agent.gamma
    reward, terminated, truncated = (
        np.asarray(x, "f8")
        for x in (rollout.reward, rollout.terminated, rollout.truncated)
    )

    def flat(observation):
        return agent.forward(tf.reshape(observation, [-1, 5]))

    value = flat(rollout.observation).value.numpy().reshape(reward.shape)
    following = flat(rollout.next_observation).value.numpy().reshape(reward.shape)
    probability = [
        tf.nn.softmax(p).numpy().reshape([STEPS, ENVS, 2])
        for p in (flat(rollout.observation).parameters, behaviour)
    ]
    action = rollout.action.numpy()
    target, advantage = np.zeros([2, STEPS, ENVS])
    for n in range(ENVS):
        for t in reversed(range(STEPS)):
            discount = gamma * (1.0 - terminated[t, n])
            ended = terminated[t, n] or truncated[t, n] or t == STEPS - 1
            pi, mu = (p[t, n, action[t, n]] for p in probability)
            rho, c = min(clip_rho, pi / mu), lambda_ * min(clip_c, pi / mu)
            after = following[t, n]
            correction = 0.0 if ended else target[t + 1, n] - after
            delta = rho * (reward[t, n] + discount * after - value[t, n])
            target[t, n] = value[t, n] + delta + discount * c * correction
            mixed = after + lambda_ * correction
            advantage[t, n] = rho * (reward[t, n] + discount * mixed - value[t, n])
    return target.ravel(), advantage.ravel()


@pytest.mark.parametrize("kind", [A2C, PPO])
@pytest.mark.parametrize(
    ("lambda_", "clip_rho", "clip_c"), [(1.0, 1.0, 1.0), (0.9, 2.0, 0.5)]
)
def test_a_lagging_policy_against_a_loop(kind, lambda_, clip_rho, clip_c):
    old = made(spread=0.3)
    agent = made(kind, 1, 1.0, vtrace=True, lambda_=lambda_, clip_rho=clip_rho,
                 clip_c=clip_c, gamma=0.9)  # fmt: skip
    rollout = played(old)
    assert rollout.terminated.numpy().any()
    assert rollout.truncated.numpy().any()
    batch, _ = agent.prepare(rollout, ())
    target, advantage = naive(
        agent, rollout, rollout.parameters, lambda_, clip_rho, clip_c
    )
    np.testing.assert_allclose(batch.target, target, atol=1e-5)
    np.testing.assert_allclose(batch.advantage, advantage, atol=1e-5)
    action = tf.reshape(rollout.action, [-1])
    now = agent.forward(batch.observation)
    np.testing.assert_allclose(
        batch.log_prob, agent.head.log_prob(now.parameters, action), atol=1e-6
    )
    np.testing.assert_allclose(batch.value, now.value, atol=1e-6)
    acted = tf.reshape(rollout.parameters, [-1, 2])
    np.testing.assert_allclose(
        batch.behaviour_log_prob, agent.head.log_prob(acted, action), atol=1e-6
    )
    ratio = np.exp(batch.log_prob - batch.behaviour_log_prob)
    assert ratio.min() < 0.6
    assert ratio.max() > 1.1


@pytest.mark.parametrize("lambda_", [1.0, 0.8])
def test_on_policy_it_is_the_return_to_the_end(lambda_):
    """The limit identity: all ratios 1; rows that end an episode included."""
    plain, other = made(lambda_=lambda_), made(lambda_=lambda_, vtrace=True)
    rollout = played(plain)
    expected, _ = plain.prepare(rollout, ())
    found, _ = other.prepare(rollout, ())
    np.testing.assert_allclose(found.target, expected.target, atol=1e-5)
    np.testing.assert_allclose(found.advantage, expected.advantage, atol=1e-5)
    np.testing.assert_allclose(found.behaviour_log_prob, expected.log_prob, atol=1e-6)


def test_a_policy_that_would_never_have_acted_so_learns_nothing():
    """Ratios of 0: targets are the values, advantages 0, and the policy stays."""
    agent = made(spread=-30.0, vtrace=True, optimizer="sgd")
    rollout = played(made(spread=30.0))
    batch, _ = agent.prepare(rollout, ())
    np.testing.assert_allclose(batch.target, batch.value, atol=1e-6)
    np.testing.assert_allclose(batch.advantage, np.zeros(60), atol=1e-6)
    before = agent.network.get_layer("policy").kernel.numpy()
    sums, _ = agent.learn_from(batch, SEED)
    after = agent.network.get_layer("policy").kernel.numpy()
    np.testing.assert_allclose(after, before, atol=1e-7)
    assert float(sums["rho"]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("kind", [A2C, PPO])
def test_a_run_is_that_without(kind):
    """The loop plays with the policy that learns: nothing to correct."""
    runs = []
    for vtrace in (False, True):
        agent = made(kind, vtrace=vtrace, lambda_=0.95)
        history = agent.fit(world(), steps=240, epochs=1, verbose=0).history
        runs.append((agent.network.get_weights(), history))
    for expected, found in zip(runs[0][0], runs[1][0], strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert runs[1][1]["rho"][0] == pytest.approx(1.0, abs=1e-5)
    assert "rho" not in runs[0][1]


@pytest.mark.long
def test_a_policy_that_remembers(tmp_path):
    """Values and states are unrolled anew with the present weights."""
    agents = [
        RecurrentPPO.for_env(world(), units=4, seed=0, num_envs=ENVS, xla=False,
                             rollout_length=STEPS, batch_size=60, vtrace=vtrace)
        for vtrace in (False, True)
    ]  # fmt: skip
    rollout = played(agents[0])
    expected, _ = agents[0].prepare(rollout, ())
    stale = rollout._replace(
        value=rollout.value + 7.0, last_policy_state=rollout.last_policy_state + 9.0
    )
    found, _ = agents[1].prepare(stale, ())
    for name in ("target", "advantage", "value", "log_prob"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), atol=1e-5, err_msg=name
        )


def test_bad_arguments():
    agent = made(vtrace=True)
    assert agent.keeps_outputs
    with pytest.raises(ValueError, match=r"`parameters` of the policy.*keep='outputs'"):
        agent.prepare(played(agent)._replace(parameters=None, value=None), ())
    with pytest.raises(ValueError, match=r"`n_step=None` with `vtrace=True`"):
        made(vtrace=True, n_step=3)
    for name in ("clip_rho", "clip_c"):
        with pytest.raises(ValueError, match=name):
            made(vtrace=True, **{name: 0.0})
