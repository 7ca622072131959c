"""Tests of `kerasrl2.envs.games.ContinuousDoubleAuction`."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.envs.games import ContinuousDoubleAuction
from kerasrl2.envs.games._book import BUY, SELL, Book
from tests.envs.games.naive_book import NaiveAuction

HOLD = [0, 0, 0]


def after(env, *actions):
    """`(state, rewards)` after steps, whatever order they arrive in."""
    state, _ = env.reset(tf.constant([0, 0]))
    rewards = []
    for t, action in enumerate(actions):
        state, time_step = env.step(state, tf.constant(action), tf.constant([1, t]))
        rewards.append(time_step.reward.numpy().tolist())
    return state, rewards


def test_an_ask_rests_and_a_market_order_takes_part_of_it():
    """000-21: ask 5 at 10 (here 101), market buy 3: ask 2 is left, NAV is kept."""
    env = ContinuousDoubleAuction(1, 2, max_size=5)
    state, rewards = after(env, [[4, 4, 2], HOLD], [HOLD, [1, 2, 0]])
    book = state.physics.book
    assert book.size[0].numpy().tolist() == [[0, 0], [2, 0]]
    assert book.price[0, SELL, 0] == book.last[0] == 101
    assert book.cash[0].numpy().tolist() == [303, -303]
    assert book.inventory[0].numpy().tolist() == [-3, 3]
    assert rewards == [[0.0, 0.0], [3.0, -3.0]]
    assert int(book.traded[0]) == 3


def test_equal_prices_fill_in_the_order_of_time():
    env = ContinuousDoubleAuction(1, 3, max_size=4)
    offers = [[4, 1, 1], HOLD, HOLD], [HOLD, [4, 1, 1], HOLD]
    state, _ = after(env, *offers, [HOLD, HOLD, [1, 2, 0]])
    assert state.physics.book.size[0, SELL].numpy().tolist() == [0, 1, 0]
    state, _ = after(env, *offers[::-1], [HOLD, HOLD, [1, 2, 0]])
    assert state.physics.book.size[0, SELL].numpy().tolist() == [1, 0, 0]
    # A new order in place of the old one goes to the end of the queue.
    state, _ = after(env, *offers, offers[0], [HOLD, HOLD, [1, 2, 0]])
    assert state.physics.book.size[0, SELL].numpy().tolist() == [1, 0, 0]


def test_better_prices_come_first_and_limits_are_kept():
    env = ContinuousDoubleAuction(1, 3, max_size=4)
    offers = [[4, 1, 3], HOLD, HOLD], [HOLD, [4, 1, 2], HOLD]  # at 102, then at 101
    state, _ = after(env, *offers, [HOLD, HOLD, [1, 2, 0]])
    book = state.physics.book
    assert book.size[0, SELL].numpy().tolist() == [1, 0, 0]
    assert book.cash[0].numpy().tolist() == [102, 202, -304]
    assert int(book.last[0]) == 102
    # A limit of 101 takes one of them, and the rest of it rests.
    state, _ = after(env, *offers, [HOLD, HOLD, [3, 3, 0]])
    book = state.physics.book
    assert book.size[0].numpy().tolist() == [[0, 0, 2], [2, 0, 0]]
    assert int(book.price[0, BUY, 2]) == 101


def test_nobody_trades_with_oneself_and_cancels_both():
    env = ContinuousDoubleAuction(1, 2)
    own = [[4, 1, 0], HOLD], [[3, 1, 0], HOLD]  # asks 99, bids 101
    state, _ = after(env, *own)
    assert state.physics.book.size[0].numpy().tolist() == [[2, 0], [2, 0]]
    state, _ = after(env, *own, [[5, 0, 0], HOLD])
    assert state.physics.book.size[0].numpy().tolist() == [[0, 0], [0, 0]]


def played(env, actions):
    """Stacked `(state.physics, TimeStep)` after each step of `[T, G * M, 3]`."""

    @tf.function(autograph=False, jit_compile=True)
    def run(actions):
        steps = actions.shape[0]
        state, _ = env.reset(tf.constant([0, 0]))
        example = tf.nest.flatten(env.step(state, actions[0], tf.constant([7, 0])))
        arrays = [
            tf.TensorArray(x.dtype, steps, element_shape=x.shape) for x in example
        ]

        def step(t, state, arrays):
            result = env.step(state, actions[t], tf.stack([7, t]))
            leaves = tf.nest.flatten(result)
            arrays = [a.write(t, x) for a, x in zip(arrays, leaves, strict=True)]
            return t + 1, result[0], arrays

        *_, arrays = tf.while_loop(lambda t, *_: t < steps, step, (0, state, arrays))
        return [array.stack() for array in arrays]

    state, _ = env.reset(tf.constant([0, 0]))
    like = env.step(state, tf.constant(actions[0]), tf.constant([0, 0]))
    state, time_step = tf.nest.pack_sequence_as(like, run(tf.constant(actions)))
    return tf.nest.map_structure(lambda x: x.numpy(), (state.physics, time_step))


@pytest.mark.long
@pytest.mark.parametrize(
    "mark", ["last", pytest.param("first", marks=pytest.mark.long)]
)
def test_a_thousand_random_steps_as_in_plain_python(mark):
    games, traders, steps = 2, 5, 1000
    env = ContinuousDoubleAuction(games, traders, None, mark=mark)
    rng = np.random.default_rng(0)
    sizes = [6, env.max_size, env.levels]
    actions = rng.integers(0, sizes, [steps, games * traders, 3], np.int32)
    physics, time_steps = played(env, actions)
    rewards = time_steps.reward.reshape(steps, games, traders)
    assert abs(rewards.sum(axis=2)).max() < 1e-9
    for g in range(games):
        game = NaiveAuction(traders, mark)
        values = game.values()
        for t in range(steps):
            for trader in physics.turn[t, g]:
                kind, size, level = actions[t, g * traders + trader]
                game.send(int(trader), kind, int(size) + 1, int(level))
            before, values = values, game.values()
            assert abs(sum(values)) < 1e-9
            assert rewards[t, g].tolist() == np.subtract(values, before).tolist()
            book = Book(*(field[t, g] for field in physics.book))
            assert (book.cash.tolist(), book.inventory.tolist()) == (
                game.cash, game.units,
            )  # fmt: skip
            assert int(book.last) == game.last
            assert resting(book) == game.resting()
        assert len(game.tape) > steps
        assert len({price for *_, price in game.tape}) > 5
    assert np.isfinite(time_steps.observation).all()
    assert np.abs(time_steps.observation).max() < 100.0


def resting(book):
    """Set of `(trader, buys, price, size)` of one game's book."""
    return {
        (trader, side == BUY, int(book.price[side, trader]), int(size))
        for (side, trader), size in np.ndenumerate(book.size)
        if size
    }


def test_equal_seeds_give_equal_tapes():
    env = ContinuousDoubleAuction(1, 4)
    rng = np.random.default_rng(1)
    actions = rng.integers(0, [6, 4, 6], [30, 4, 3])
    step = tf.function(env.step, autograph=False)

    def tape(seed):
        state, _ = env.reset(tf.constant([0, 0]))
        made = []
        for t, action in enumerate(actions):
            state, _ = step(state, tf.constant(action), tf.constant([seed, t]))
            book = state.physics.book
            made.append((int(book.last[0]), int(book.traded[0]), *book.cash[0].numpy()))
        return made

    assert tape(3) == tape(3) != tape(4)


def test_observations_by_hand():
    env = ContinuousDoubleAuction(1, 2, max_size=4, depth=2)
    state, _ = after(env, [[4, 1, 2], HOLD], [HOLD, [3, 3, 2]])
    seen = env.observe(state.physics)[0].numpy()
    bids, asks = [0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.5, 0.0]
    own = [[0.0, 0.0, 0.5, 0.0, 0.5, 0.0], [0.0, 1.0, 0.0, -0.5, 0.0, 0.0]]
    assert seen.tolist() == [[*bids, *asks, *row] for row in own]
    assert env.observation_space.shape == (16,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_traders": 1}, "`num_traders` of at least 2.*1"),
        ({"levels": 0}, "`levels`.*0"),
        ({"mark": "mid"}, "mark"),
        ({"num_games": 0}, "`num_games`.*0"),
    ],
)
def test_bad_input(settings, message):
    with pytest.raises(ValueError, match=message):
        ContinuousDoubleAuction(**settings)
