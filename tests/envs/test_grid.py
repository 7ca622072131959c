"""Tests of `kerasrl2.envs.grid`."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.envs import TensorFlowEnvironment, make
from kerasrl2.envs.exact import Endless
from kerasrl2.envs.grid._board import stick
from tests.envs import naive_grid
from tests.harness import compiled_in_long_runs

SEED = tf.constant([3, 4])
IDS = ["GridBreakout-v0", "GridSpaceInvaders-v0"]
NAIVE = dict(zip(IDS, (naive_grid.Breakout, naive_grid.SpaceInvaders), strict=True))
N, STEPS = 16, 640  # 10 240 transitions


def start(id, observation):
    """A naive copy in the state that a first observation `[10, 10, C]` shows."""
    if id == "GridSpaceInvaders-v0":
        return naive_grid.SpaceInvaders.start()
    ((_, column),) = np.argwhere(observation[..., 1])
    return naive_grid.Breakout.start(int(column))


def stuck(seed, n, probability):
    """`[n]` bool, the copies in which a step with this seed repeats the last action."""
    bits = tf.random.stateless_uniform(
        [n], tf.random.fold_in(seed, 1, alg="philox"), None, None, tf.int32, None,
        "philox",
    )  # fmt: skip
    return bits.numpy().astype(np.float64) / 2**32 + 0.5 < probability


@pytest.mark.long
@pytest.mark.parametrize("id", IDS)
def test_agrees_with_the_naive_game_over_10_000_steps(id, compiled):
    env, rng = make(id, num_envs=N, max_episode_steps=300), np.random.default_rng(0)
    step = compiled(env.step)
    state, observation = compiled(env.reset)(SEED)
    games = [start(id, x) for x in observation.numpy()]
    ages, totals = np.zeros(N, int), np.zeros(2)
    steps = STEPS // 8 if step == env.step else STEPS  # eager mode takes its time
    for t in range(steps):
        # Every other copy is played well: it meets later waves and new walls.
        action = rng.integers(env.action_space.n, size=N)
        action[::2] = [game.good_action(rng) for game in games[::2]]
        seed = tf.constant([t, 5])
        sticks = stuck(seed, N, 0.1)
        state, ours = step(state, tf.constant(action), seed)
        ours = tf.nest.map_structure(np.array, ours)
        ages += 1
        for i, game in enumerate(games):
            reward, terminated = game.step(int(action[i]), sticks[i])
            assert (ours.reward[i], ours.terminated[i]) == (reward, terminated)
            assert ours.truncated[i] == (ages[i] == 300)
            np.testing.assert_array_equal(ours.next_observation[i], game.planes())
            totals += reward, terminated
            if terminated or ages[i] == 300:
                games[i], ages[i] = start(id, ours.observation[i]), 0
            np.testing.assert_array_equal(ours.observation[i], games[i].planes())
    assert totals.min() > steps / 13
    assert ours.observation.dtype == ours.next_observation.dtype == np.uint8


def scattered(id, physics, rng):
    """`physics` with random numbers in place of all it holds, some of them rare."""
    n = len(physics.previous)
    density = rng.choice([0.02, 0.1, 0.5], size=[n, 1, 1])
    boards = lambda: rng.random([n, 10, 10]) < density  # noqa: E731
    signs = lambda: rng.choice([-1, 1], size=n)  # noqa: E731
    low = lambda top: np.maximum(rng.integers(-top, top + 1, size=n), 0)  # noqa: E731
    if id == "GridBreakout-v0":
        fields = {
            "paddle": rng.integers(10, size=n),
            "row": rng.choice([0, 1, 2, 3, 4, 6, 8, 8], size=n),
            "column": rng.integers(10, size=n), "down": signs(), "right": signs(),
            "bricks": boards() & physics.bricks.numpy() & (rng.random([n, 1, 1]) < 0.8),
            "struck": rng.random(n) < 0.3,
        }  # fmt: skip
    else:
        height = rng.integers(5, 11, size=[n, 1, 1])
        fields = {
            "cannon": rng.integers(10, size=n), "right": signs(),
            "aliens": boards() & (np.arange(10)[:, None] < height),
            "shots": boards(), "bombs": boards(), "until_ready": low(4),
            "until_move": low(11), "until_bomb": low(9),
            "interval": rng.integers(6, 13, size=n),
        }  # fmt: skip
        fields["aliens"][np.arange(n), 0, rng.integers(10, size=n)] = True
    fields["previous"] = rng.integers(3, size=n)
    old = physics._asdict()
    return physics._replace(
        **{name: tf.constant(x, old[name].dtype) for name, x in fields.items()}
    )


@pytest.mark.long
@pytest.mark.parametrize("id", IDS)
def test_agrees_with_the_naive_game_from_10_000_scattered_states(id):
    n = 500
    env, rng, naive = make(id, num_envs=n), np.random.default_rng(1), NAIVE[id]
    first, ended = env.initial(SEED, n), 0
    compiled = [tf.function(env.transition, jit_compile=jit) for jit in (False, True)]
    for _ in range(20):
        physics = scattered(id, first, rng)
        arrays = tf.nest.map_structure(np.array, physics)
        games = [naive.of(arrays, i) for i in range(n)]
        action = rng.integers(env.action_space.n, size=n).astype(np.int32)
        result = env.transition(physics, tf.constant(action))
        for function in compiled:
            tf.nest.map_structure(
                np.testing.assert_array_equal,
                function(physics, tf.constant(action)),
                result,
            )
        physics, reward, terminated = tf.nest.map_structure(np.array, result)
        for i, game in enumerate(games):
            assert (reward[i], terminated[i]) == game.step(int(action[i]))
            assert naive.of(physics, i) == game
        ended += int(np.sum(terminated))
    assert 500 < ended < 9_500


@pytest.mark.parametrize("id", IDS)
def test_spaces_and_names(id):
    env = make(id, num_envs=3)
    assert isinstance(env, TensorFlowEnvironment)
    assert (env.id, env.num_envs, env.in_graph) == (id, 3, True)
    assert env.max_episode_steps == 5_000
    assert env.sticky_actions == 0.1
    assert env.action_space.n == {"GridBreakout-v0": 3, "GridSpaceInvaders-v0": 4}[id]
    channels = {"GridBreakout-v0": 4, "GridSpaceInvaders-v0": 6}[id]
    assert env.observation_space.shape == (10, 10, channels)
    state, observation = env.reset(SEED)
    _, time_step = env.step(state, tf.constant([0, 1, 2], tf.int64), SEED)
    for batch in (observation, *time_step[:2]):
        assert all(x in env.observation_space for x in batch.numpy())
    assert env.observation_space.high.max() == 1


def test_what_the_planes_of_breakout_show():
    env = make("GridBreakout-v0", num_envs=32, sticky_actions=0.0)
    state, observation = env.reset(SEED)
    from_left = observation[:, 3, 0, 1].numpy() == 1
    assert 0 < from_left.sum() < 32
    _, time_step = env.step(state, tf.fill([32], 2), SEED)
    for i in range(32):
        first, then = observation[i].numpy(), time_step.observation[i].numpy()
        corner, inwards = ([3, 0], [4, 1]) if from_left[i] else ([3, 9], [4, 8])
        assert np.argwhere(first[..., 0]).tolist() == [[9, 4]]
        assert np.argwhere(then[..., 0]).tolist() == [[9, 5]]
        assert np.argwhere(first[..., 1]).tolist() == [corner]
        assert np.argwhere(then[..., 1]).tolist() == [inwards]
        assert np.argwhere(then[..., 2]).tolist() == [corner]
        for planes in (first, then):
            np.testing.assert_array_equal(
                planes[..., 3].sum(1), [0] + [10] * 3 + [0] * 6
            )


def test_what_the_planes_of_space_invaders_show():
    env = make("GridSpaceInvaders-v0", sticky_actions=0.0)
    state, observation = env.reset(SEED)
    seen = [observation[0].numpy()]
    for action in [3, 2] + [0] * 11:
        state, time_step = env.step(state, tf.constant([action]), SEED)
        seen.append(time_step.observation[0].numpy())
    where = lambda t, channel: np.argwhere(seen[t][..., channel]).tolist()  # noqa: E731
    block = [[row, column] for row in range(4) for column in range(2, 8)]
    assert [where(t, 0) for t in (0, 1, 2)] == [[[9, 5]], [[9, 5]], [[9, 6]]]
    for t in range(6):  # the bullet leaves upwards and meets the block in step 6
        assert where(t, 1) == where(t, 2) == block
        assert where(t, 3) == []
        assert where(t, 4) == ([[9 - t, 5]] if t else [])
    assert where(6, 1) == where(6, 2) == [cell for cell in block if cell != [3, 5]]
    assert where(6, 4) == []
    assert [where(t, 5) for t in (10, 11, 12)] == [[], [[3, 6]], [[4, 6]]]
    assert where(12, 1) == where(6, 1)
    assert where(13, 2) == [[row, column - 1] for row, column in where(6, 1)]


@pytest.mark.parametrize(
    ("ball", "way", "paddle", "expected"),  # expected: ball, way, or None at the end
    [
        ((8, 4), (1, 1), 4, ((8, 5), (-1, 1))),  # paddle below the ball: turns up
        ((8, 4), (1, 1), 5, ((8, 5), (-1, -1))),  # where it moves to: back it goes
        ((8, 4), (1, 1), 3, None),
        ((8, 4), (1, 1), 6, None),
        ((8, 0), (1, -1), 0, ((8, 0), (-1, 1))),  # in the corner
        ((8, 0), (1, -1), 1, None),
        ((8, 9), (1, 1), 8, None),
        ((7, 4), (1, 1), 0, ((8, 5), (1, 1))),
    ],
)
def test_ends_where_the_paddle_misses(ball, way, paddle, expected):
    env = make("GridBreakout-v0", sticky_actions=0.0)
    state, _ = env.reset(SEED)
    numbers = {"row": ball[0], "column": ball[1], "down": way[0], "right": way[1]}
    numbers = {name: tf.constant([x]) for name, x in numbers.items()}
    physics = state.physics._replace(paddle=tf.constant([paddle]), **numbers)
    state, time_step = env.step(state._replace(physics=physics), tf.constant([0]), SEED)
    assert bool(time_step.terminated[0]) == (expected is None)
    assert not time_step.truncated[0]
    assert time_step.reward[0] == 0
    p = state.physics
    if expected is not None:
        assert ((p.row[0], p.column[0]), (p.down[0], p.right[0])) == expected
    else:
        assert p.row[0] == 3  # a new episode
        assert time_step.next_observation[0, 9, np.clip(ball[1] + way[1], 0, 9), 1] == 1


@pytest.mark.parametrize(
    ("changes", "terminated"),
    [
        ({"bombs": [(8, 5)]}, True),  # falls on the cannon
        ({"bombs": [(8, 4), (8, 6), (7, 5), (9, 5)]}, False),
        ({"aliens": [(9, 6)], "until_move": 0}, True),  # walks into it
        ({"aliens": [(9, 6)], "until_move": 1}, False),
        ({"aliens": [(9, 5)]}, True),
        ({"aliens": [(8, 0), (8, 5)], "until_move": 0}, True),  # comes down on it
        ({"aliens": [(9, 0), (4, 4)], "until_move": 0}, True),  # lands
        ({"aliens": [(9, 1), (4, 4)], "until_move": 0}, False),
        ({"aliens": [(8, 0), (4, 4)], "until_move": 0}, False),
        ({"aliens": [(9, 9), (4, 4)], "until_move": 0}, False),  # the edge behind them
    ],
    ids=str,
)
def test_ends_where_aliens_or_bombs_arrive(changes, terminated):
    env = make("GridSpaceInvaders-v0", sticky_actions=0.0)
    state, _ = env.reset(SEED)
    for name, value in changes.items():
        if isinstance(value, list):
            board = np.zeros([1, 10, 10], bool)
            board[0][tuple(np.transpose(value))] = True
            value = board
        else:
            value = [value]
        physics = state.physics._replace(**{name: tf.constant(value)})
        state = state._replace(physics=physics)
    _, time_step = env.step(state, tf.constant([0]), SEED)
    assert bool(time_step.terminated[0]) == terminated
    assert not time_step.truncated[0]


@pytest.mark.long
def test_breaks_all_bricks_and_gets_new_ones():
    env = make("GridBreakout-v0", num_envs=8, sticky_actions=0.0)
    step, rng = tf.function(env.step, jit_compile=True), np.random.default_rng(0)
    state, _ = env.reset(SEED)
    left, total, renewals = np.full(8, 30), np.zeros(8), 0
    for t in range(2_000):
        physics = tf.nest.map_structure(np.array, state.physics)
        games = [naive_grid.Breakout.of(physics, i) for i in range(8)]
        action = np.array([game.good_action(rng) for game in games], np.int32)
        state, time_step = step(state, tf.constant(action), tf.constant([t, 0]))
        assert not time_step.terminated.numpy().any()
        now = time_step.next_observation[..., 3].numpy().sum((1, 2), dtype=int)
        renewed = (left == 0) & (now == 30)
        np.testing.assert_array_equal(
            time_step.reward, np.where(renewed, 0, left - now)
        )
        left, renewals = now, renewals + renewed.sum()
        total += time_step.reward.numpy()
    assert renewals > 8
    assert total.min() > 30


def test_waves_come_sooner_down_to_six_steps():
    env = make("GridSpaceInvaders-v0", sticky_actions=0.0)
    state, _ = env.reset(SEED)
    last, shot = np.zeros([2, 1, 10, 10], bool)
    last[0, 0, 2], shot[0, 1, 2] = True, True
    intervals = []
    for _ in range(8):
        physics = state.physics._replace(aliens=tf.constant(last), shots=shot)
        state, time_step = env.step(state._replace(physics=physics), [0], SEED)
        assert time_step.reward[0] == 1
        assert time_step.observation[0, ..., 1].numpy().sum() == 24
        intervals.append(int(state.physics.interval[0]))
    assert intervals == [11, 10, 9, 8, 7, 6, 6, 6]


@compiled_in_long_runs
def test_actions_stick_with_the_given_probability(compiled):
    n, run = 20_000, compiled(stick)
    previous, action = tf.fill([n], 2), tf.fill([n], 1)
    for probability in (0.0, 0.1, 0.5, 0.9, 1.0):
        carried = run(action, previous, probability, SEED).numpy()
        assert abs((carried == 2).mean() - probability) <= 0.01 * (0 < probability < 1)
        assert set(carried) <= {1, 2}
    twice = [run(action, previous, 0.5, [7, t]).numpy() for t in (0, 1)]
    assert abs((twice[0] == twice[1]).mean() - 0.5) < 0.02  # a new draw at each step


def test_what_sticks_is_the_action_carried_out():
    env = make("GridBreakout-v0", num_envs=4, sticky_actions=1.0)
    state, _ = env.reset(SEED)
    state, time_step = env.step(state, tf.fill([4], 1), SEED)
    assert time_step.observation[:, 9, 4, 0].numpy().all()  # it began with the no-op
    physics = state.physics._replace(previous=tf.fill([4], 2))
    state, time_step = env.step(state._replace(physics=physics), tf.fill([4], 1), SEED)
    assert time_step.observation[:, 9, 5, 0].numpy().all()
    assert state.physics.previous.numpy().tolist() == [2] * 4
    env = make("GridBreakout-v0", num_envs=4, max_episode_steps=1)
    state, _ = env.step(env.reset(SEED)[0], tf.fill([4], 1), SEED)
    assert state.physics.previous.numpy().tolist() == [0] * 4  # forgotten at the end


def test_sticking_and_the_next_start_are_independent():
    env = make("GridBreakout-v0", 8_000, max_episode_steps=1, sticky_actions=0.5)
    state, _ = env.reset(SEED)
    state, time_step = env.step(state, tf.fill([8_000], 1), SEED)
    sticks = time_step.next_observation[:, 9, 4, 0].numpy()
    on_left = time_step.observation[:, 3, 0, 1].numpy()
    assert abs(np.mean(sticks) - 0.5) < 0.03
    assert abs(np.mean(on_left) - 0.5) < 0.03
    assert abs(np.mean(sticks == on_left) - 0.5) < 0.03


@pytest.mark.long
@pytest.mark.parametrize("id", IDS)
def test_equal_seeds_make_equal_runs(id):
    env = make(id, num_envs=N)
    step, rng = tf.function(env.step), np.random.default_rng(0)
    actions = rng.integers(env.action_space.n, size=[60, N])

    def run(reset_seed, step_seed):
        state, observation = env.reset(tf.constant([0, reset_seed]))
        observations = [observation]
        for t, action in enumerate(actions):
            seed = tf.constant([step_seed, t])
            state, time_step = step(state, tf.constant(action), seed)
            observations.append(time_step.observation)
        return np.array(observations)

    np.testing.assert_array_equal(run(1, 2), run(1, 2))
    assert (run(1, 2) != run(1, 3)).any()
    assert (run(1, 2)[0] != run(2, 2)[0]).any() == (id == "GridBreakout-v0")


def test_worlds_without_chance_are_not_disturbed():
    env = Endless(num_envs=2)
    physics, action = env.apply_chance(tf.ones([2, 1]), tf.constant([0, 1]), SEED)
    np.testing.assert_array_equal(physics, [[1.0], [1.0]])
    np.testing.assert_array_equal(action, [0, 1])


@pytest.mark.parametrize("id", IDS)
def test_refuses_what_is_no_probability(id):
    for value in (-0.1, 1.1, "often", float("nan")):
        with pytest.raises(ValueError, match="`sticky_actions`"):
            make(id, sticky_actions=value)
