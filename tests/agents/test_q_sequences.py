"""Recurrent DQN against a loop in Python, step by step."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.agents import DQN
from kerasrl2.agents.q_sequences import n_step_rows
from kerasrl2.returns import n_step_returns
from kerasrl2.training.collect import begin_episodes, collect
from tests.agents.harness import SEED
from tests.harness import compiled_in_long_runs
from tests.training.worlds import Scripted

B, GAMMA = 3, 0.9
SMALL = {
    "recurrent": "gru", "recurrent_units": 4, "hidden": (5, 6), "seed": 0, "xla": False,
    "sequence_length": 5, "burn_in": 2, "batch_size": B, "gamma": GAMMA,
    "buffer_size": 200, "num_envs": 2, "learning_starts": 4,
}  # fmt: skip


def made(**settings):
    """An agent with a target network of its own, and what it played in its buffer."""
    env = Scripted([3, 4, 9], 2, cut=2)
    agent = DQN.for_env(env, **{**SMALL, **settings})
    begun = begin_episodes(agent, env, SEED)
    _, rollout = collect(agent, env, begun, 30, SEED, keep_states=True)
    agent.buffer.add_rollout(agent.stored(rollout))
    rng = np.random.default_rng(0)
    for network in (agent.q_network, agent.target_network):
        for weight in network.weights:
            weight.assign(rng.normal(0.0, 0.6, weight.shape))
    return agent


def one_state(state, b):
    return tf.nest.map_structure(lambda leaf: leaf[b : b + 1], state)


def naive(agent, batch, n_step):
    """TD errors `[B, steps]`, by single steps of single environments."""
    burn_in, length = agent.burn_in, batch.reward.shape[1]
    errors = []
    for b in range(B):
        rows = {}
        for name, network in (("q", agent.q_network), ("t", agent.target_network)):
            state = tf.nest.map_structure(
                lambda leaf, b=b: leaf[b : b + 1, 0], batch.action["policy_state"]
            )
            for t in range(length):
                if t == burn_in:
                    state = tf.nest.map_structure(tf.stop_gradient, state)
                seen = batch.observation[b : b + 1, t]
                values, after = network(seen, state)
                following, _ = network(batch.next_observation[b : b + 1, t], after)
                rows[name, t] = values[0], following[0]
                state = network.initial_state(1) if batch.ended[b, t] else after
        line = []
        for t in range(burn_in, length):
            reward, discount = 0.0, 1.0
            for j in range(t, min(t + n_step, length)):
                reward += discount * batch.reward[b, j]
                discount *= batch.discount[b, j]
                if batch.ended[b, j]:
                    break
            chooser = rows["q" if agent.double else "t", j][1]
            best = int(tf.argmax(chooser))
            target = reward + discount * rows["t", j][1][best]
            value = rows["q", t][0][int(batch.action["action"][b, t])]
            line.append(tf.stop_gradient(target) - value)
        errors.append(tf.stack(line))
    return tf.stack(errors)


@compiled_in_long_runs
@pytest.mark.parametrize(
    ("double", "n_step"),
    [(True, 2), pytest.param(False, 1, marks=pytest.mark.long)],
)
def test_loss_priorities_and_gradients_are_those_of_a_loop(compiled, double, n_step):
    agent = made(double=double, n_step=n_step, loss="squared")
    batch = agent.buffer.sequences([4, 9, 20], 7, tf.constant([1.0, 0.5, 2.0]))
    assert batch.ended[:, :-1].numpy().any()
    assert batch.valid.numpy().all()
    weights = [weight.value for weight in agent.trainable_weights]

    def slopes():
        with tf.GradientTape() as tape:
            loss, metrics = agent.compute_loss(batch, SEED)
        return loss, metrics, tape.gradient(loss, weights)

    loss, metrics, gradients = compiled(slopes)()
    with tf.GradientTape() as tape:
        errors = naive(agent, batch, n_step)
        expected = tf.reduce_mean(batch.weight[:, None] * 0.5 * errors**2)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    sizes = np.abs(errors)
    priority = 0.9 * sizes.max(axis=1) + 0.1 * sizes.mean(axis=1)
    np.testing.assert_allclose(metrics["td_error"], priority, rtol=1e-4, atol=1e-5)
    for own, known in zip(gradients, tape.gradient(expected, weights), strict=True):
        np.testing.assert_allclose(own, known, rtol=1e-3, atol=1e-5)
        assert np.abs(known).max() > 1e-4


@pytest.mark.long
def test_a_stored_state_is_that_before_the_step():
    """And the weights that made it are those of now: it is what playing gives."""
    env = Scripted([3, 4, 9], 2, cut=2)
    agent = DQN.for_env(env, **SMALL)
    agent.learning_rate = 0.0
    agent.fit(env, steps=40, epochs=1, verbose=0)
    batch = agent.buffer.sequences([0, 1], 20)
    states = tf.nest.flatten(batch.action["policy_state"])
    for b in range(2):
        state = agent.initial_state(1)
        for t in range(20):
            for own, known in zip(states, tf.nest.flatten(state), strict=True):
                np.testing.assert_allclose(own[b, t], known[0], rtol=1e-5, atol=1e-6)
            outputs = agent.forward(batch.observation[b : b + 1, t], state)
            ended = bool(batch.ended[b, t])
            state = agent.initial_state(1) if ended else outputs.policy_state
    assert np.ptp(states[0]) > 1e-3


@pytest.mark.long
def test_a_terminal_successor_is_worth_nothing_and_a_cut_one_is():
    """TD errors of one-step targets where episodes end."""
    agent = made(n_step=1, loss="squared")
    batch = agent.buffer.sequences([0, 1, 2], 7)
    _, transitions, valid = agent.unrolled(batch)
    discount = tf.reshape(transitions.discount, [5, B])
    np.testing.assert_array_equal(discount, tf.transpose(batch.discount[:, 2:]))
    assert set(np.unique(discount)) == {0.0, np.float32(GAMMA)}
    assert valid.numpy().all()


@pytest.mark.long
def test_steps_that_are_not_there_count_for_nothing():
    agent = made(loss="squared")
    whole = agent.buffer.sequences([4, 9, 20], 7)
    loss, metrics = agent.compute_loss(whole, SEED)
    valid = np.ones([B, 7], bool)
    valid[1, 5:], valid[2] = False, False
    ended = whole.ended.numpy() | ~np.pad(valid[:, 1:], [(0, 0), (0, 1)])
    junk = tf.where(tf.constant(valid), whole.reward, 1e6)
    part = whole._replace(
        valid=tf.constant(valid), reward=junk, ended=tf.constant(ended)
    )
    found, of_part = agent.compute_loss(part, SEED)
    errors = naive(agent, part, 1).numpy()
    sizes = np.square(errors) * valid[:, 2:]
    np.testing.assert_allclose(found, 0.5 * sizes.sum() / valid[:, 2:].sum(), rtol=1e-5)
    assert of_part["td_error"][2] == 0.0
    assert float(found) < 1e3
    assert np.isfinite(float(loss))
    assert metrics["td_error"][0] == of_part["td_error"][0]


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_sums_of_rewards_are_n_step_returns(n):
    rng = np.random.default_rng(n)
    reward = tf.constant(rng.normal(size=[7, 4]), tf.float32)
    terminated, truncated = (tf.constant(rng.random([7, 4]) < 0.2) for _ in range(2))
    discount = GAMMA * (1.0 - tf.cast(terminated, tf.float32))
    ended = terminated | truncated
    value = tf.constant(rng.normal(size=[7, 4]), tf.float32)
    sums, power, last = n_step_rows(reward, discount, ended, n)
    columns = tf.tile(tf.range(4)[None], [7, 1])
    reached = tf.gather_nd(value, tf.stack([last, columns], axis=-1))
    expected = n_step_returns(reward, discount, ended, value, n)
    np.testing.assert_allclose(sums + power * reached, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_rewards_are_clipped_and_priorities_updated():
    env = Scripted([3, 4, 9], 2, cut=2)
    agent = DQN.for_env(env, **SMALL, prioritized=True, clip_rewards=0.25)
    agent.fit(env, steps=40, epochs=1, verbose=0)
    batch = agent.buffer.sequences([0], 10)
    assert batch.reward.numpy().max() == 0.25
    probabilities = agent.buffer.probability(range(20)).numpy()
    assert len(set(probabilities.tolist())) > 3


@pytest.mark.long
def test_the_memories_of_transitions_are_those_before_and_after_their_steps():
    """The target network's before the observation, for Munchausen rewards."""
    agent = made(n_step=2)
    batch = agent.buffer.sequences([4, 9, 20], 7)
    _, transitions, _ = agent.unrolled(batch)
    found = {
        name: tf.reshape(tf.nest.flatten(state)[0], [5, B, 4])
        for name, state in transitions.memory._asdict().items()
    }
    networks = {"target": agent.target_network, "online": agent.q_network}
    for name, network in networks.items():
        for b in range(B):
            states = [
                tf.nest.map_structure(
                    lambda leaf, b=b: leaf[b : b + 1, 0], batch.action["policy_state"]
                )
            ]
            after = []
            for t in range(7):
                seen = batch.observation[b : b + 1, t]
                after.append(network(seen, states[-1])[1])
                ended = bool(batch.ended[b, t])
                states.append(network.initial_state(1) if ended else after[-1])
            for t in range(2, 7):
                last = t if t == 6 or batch.ended[b, t] else t + 1
                own = found[f"next_{name}"][t - 2, b]
                np.testing.assert_allclose(own, after[last][0][0], atol=1e-6)
                if name == "target":
                    own = found["target"][t - 2, b]
                    np.testing.assert_allclose(own, states[t][0][0], atol=1e-6)


@pytest.mark.long
def test_gradients_in_parts_are_those_of_the_whole():
    """Parts of two sequences and of one, of which some steps are not there."""
    agent = made()
    _, batch = agent.replayed(SEED)
    there = np.ones(batch.valid.shape, bool)
    there[0, 4:], there[2, 6:], there[1, :1] = False, False, False
    batch = batch._replace(valid=tf.constant(there))
    whole = agent.compute_gradients(batch, SEED)
    agent.accumulation_steps = 2
    parts = agent.compute_gradients(batch, SEED)
    assert float(parts.loss) == pytest.approx(float(whole.loss), rel=1e-5)
    for a, b in zip(parts.values, whole.values, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        parts.metrics["td_error"], whole.metrics["td_error"], rtol=1e-5
    )
