"""Tests of `training.recurrence`: policies that remember, over whole sequences."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.training.collect import collect
from kerasrl2.training.recurrence import pieces, successor_values, unroll
from tests.harness import xla_in_long_runs
from tests.training.players import Gated, Summing, begun
from tests.training.worlds import Scripted

SEED = tf.constant([3, 4])
X, RESET = [1, 2, 3, 4, 5], [0, 0, 1, 0, 1]


def summed(start=0.0):
    """Observations `[T, 1, 1]`, a first state, and after which steps it is reset."""
    after = [*RESET[1:], 0]
    observation = tf.reshape(tf.constant(X, tf.float32), [5, 1, 1])
    return observation, tf.constant([start]), tf.cast(after, tf.bool)[:, None]


def test_unrolled_it_forgets_alike(compiled):
    outputs = compiled(lambda: unroll(Summing(), *summed()))()
    assert outputs.value[:, 0].numpy().tolist() == [1, 3, 3, 7, 5]
    assert outputs.parameters[:, 0, 1].numpy().tolist() == [-1, -3, -3, -7, -5]
    assert outputs.policy_state[:, 0].numpy().tolist() == [1, 3, 3, 7, 5]
    outputs = unroll(Summing(), *summed(start=10.0))
    assert outputs.value[:, 0].numpy().tolist() == [11, 13, 3, 7, 5]


def test_gradients_end_where_it_forgets(compiled):
    def slopes():
        """Of each sum, by all that was seen."""
        inputs = summed()
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(inputs[:2])
            value = unroll(Summing(), *inputs).value
        return tape.jacobian(value, inputs[:2], experimental_use_pfor=False)

    by_seen, by_start = compiled(slopes)()
    expected = np.zeros([5, 5])
    for begin, end in [(0, 2), (2, 4), (4, 5)]:
        expected[begin:end, begin:end] = np.tri(end - begin)
    np.testing.assert_array_equal(tf.reshape(by_seen, [5, 5]), expected)
    np.testing.assert_array_equal(tf.reshape(by_start, [5]), [1, 1, 0, 0, 0])


@pytest.fixture(scope="module")
def gated():
    """A recurrent policy and what it played, from the middle of its episodes on."""
    env, player = Scripted([3, 4, 6], 3, cut=2, next_step_reset=True, junk=2.0), Gated()
    state, _ = collect(player, env, begun(player, env), 2, SEED)
    _, rollout = collect(
        player, env, state, 11, SEED + 1, keep="outputs", keep_states=True
    )
    assert np.ptp(rollout.policy_state["h"]) > 0.1
    return player, rollout


def resets_of(rollout):
    return rollout.terminated | rollout.truncated | ~rollout.valid


def test_unrolled_it_says_what_it_said_while_it_played(compiled, gated):
    player, rollout = gated

    def again():
        return unroll(
            player, rollout.observation, rollout.policy_state, resets_of(rollout)
        )

    outputs = compiled(again)()
    for name in ("parameters", "value"):
        own, played = getattr(outputs, name), getattr(rollout, name)
        np.testing.assert_allclose(own, played, rtol=1e-5, atol=1e-6)
    last = tf.where(resets_of(rollout)[-1][:, None], 0.5, outputs.policy_state["h"][-1])
    kept = rollout.last_policy_state["h"]
    np.testing.assert_allclose(last, kept, rtol=1e-5, atol=1e-6)
    before = rollout.policy_states["h"][1:]
    after = tf.where(resets_of(rollout)[..., None], 0.5, outputs.policy_state["h"])
    np.testing.assert_allclose(after[:-1], before, rtol=1e-5, atol=1e-6)
    assert 3 < np.sum(resets_of(rollout)) < rollout.value.shape.num_elements() - 3


def naive_values(player, rollout, following):
    """By a loop: values of what was seen, or of true successors."""
    h, values = rollout.policy_state["h"], []
    resets = resets_of(rollout)
    for t in range(len(resets)):
        outputs = player.forward(rollout.observation[t], {"h": h})
        if following:
            after = rollout.next_observation[t]
            values.append(player.forward(after, outputs.policy_state).value)
        else:
            values.append(outputs.value)
        h = tf.where(resets[t][:, None], 0.5, outputs.policy_state["h"])
    return tf.stack(values)


@xla_in_long_runs
@pytest.mark.parametrize("following", [False, True])
def test_unrolled_values_and_gradients_are_those_of_a_loop(compiled, gated, following):
    """Through time: of weights, and of the state the rollout began with."""
    player, rollout = gated
    sources = [*player.weights.values(), rollout.policy_state["h"]]

    def unrolled():
        if following:
            return successor_values(player, rollout)
        return unroll(
            player, rollout.observation, rollout.policy_state, resets_of(rollout)
        ).value

    def slopes(values_of):
        with tf.GradientTape() as tape:
            tape.watch(sources[-1])
            values = values_of()
            loss = tf.reduce_sum(tf.sin(3.0 * values))
        return values, tape.gradient(loss, sources)

    values, gradients = compiled(lambda: slopes(unrolled))()
    expected = slopes(lambda: naive_values(player, rollout, following))
    np.testing.assert_allclose(values, expected[0], rtol=1e-5, atol=1e-6)
    for own, naive_one in zip(gradients, expected[1], strict=True):
        np.testing.assert_allclose(own, naive_one, rtol=1e-4, atol=1e-5)
        assert np.abs(own).max() > 1e-3


def test_pieces_of_a_rollout_are_its_steps_in_order():
    """`[T, N]` of ten times the environment and the step, to `[T / L * N, L]`."""
    steps = tf.range(6)[:, None] + 10 * tf.range(2)
    assert pieces(steps, 3).numpy().tolist() == [
        [0, 1, 2], [10, 11, 12], [3, 4, 5], [13, 14, 15],
    ]  # fmt: skip
    assert pieces(steps, 6).numpy().tolist() == tf.transpose(steps).numpy().tolist()
    features = tf.stack([steps, -steps], axis=-1)
    assert pieces(features, 2)[3].numpy().tolist() == [[12, -12], [13, -13]]
