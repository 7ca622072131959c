"""Tests of `kerasrl2.envs.atari`, against Gymnasium's own wrappers."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2.agents import PPO
from kerasrl2.envs import AtariEnvironment, GymnasiumEnvironment, make
from kerasrl2.envs.atari import single_game
from kerasrl2.envs.registry import make_single
from kerasrl2.errors import EnvironmentFailure
from tests.envs.worlds import SEED, play

pytest.importorskip("ale_py")

INVADERS, BREAKOUT, PONG = "ALE/SpaceInvaders-v5", "ALE/Breakout-v5", "ALE/Pong-v5"
CERTAIN = {"sticky_actions": 0.0}  # nothing left to chance


def random_actions(env, steps, seed=0):
    shape = [steps, env.num_envs]
    return np.random.default_rng(seed).integers(env.action_space.n, size=shape)


def stepped(env, actions):
    """Yields the first observation, then for each action the `TimeStep`, as arrays."""
    step = tf.function(env.step)
    state, first = env.reset(SEED)
    yield first.numpy()
    for action in actions:
        state, time_step = step(state, tf.constant(action), SEED)
        yield tf.nest.map_structure(lambda tensor: tensor.numpy(), time_step)


@pytest.mark.parametrize(
    ("id", "steps", "ends", "cuts", "settings"),
    [
        pytest.param(INVADERS, 700, 1, 0, {}, marks=pytest.mark.long),
        pytest.param(BREAKOUT, 500, 2, 2, {"max_episode_steps": 190},
                     marks=pytest.mark.long),
        pytest.param(BREAKOUT, 250, 0, 12,
                     {"max_episode_steps": 40, "frame_skip": 3, "frame_stack": 2,
                      "fire_on_reset": True}, marks=pytest.mark.long),
        (PONG, 60, 0, 0, {"max_episode_steps": None, "frame_skip": 1,
                          "frame_stack": 1, "full_action_space": True}),
    ],
)  # fmt: skip
def test_follows_gymnasiums_wrappers(id, steps, ends, cuts, settings):
    """The same pixels, rewards and ends for 3 020 steps in 4 settings."""
    env = AtariEnvironment(id, num_envs=2, **CERTAIN, **settings)
    peers = [single_game(id, **CERTAIN, **settings) for _ in range(2)]
    actions = random_actions(env, steps)
    results = stepped(env, actions)
    first = next(results)
    for row, peer in enumerate(peers):
        np.testing.assert_array_equal(first[row], peer.reset(seed=row)[0])
    seen = collections.Counter()
    for action, result in zip(actions, results, strict=True):
        for row, peer in enumerate(peers):
            screen, reward, terminated, truncated, _ = peer.step(action[row])
            np.testing.assert_array_equal(result.next_observation[row], screen)
            assert result.reward[row] == reward
            assert result.terminated[row] == terminated
            assert result.truncated[row] == truncated
            if terminated or truncated:
                screen, _ = peer.reset()
            np.testing.assert_array_equal(result.observation[row], screen)
            seen["ends"] += terminated
            seen["cuts"] += truncated
            seen["rewards"] += reward != 0
        assert result.valid.all()
    assert seen["ends"] >= ends
    assert seen["cuts"] >= cuts
    assert seen["rewards"] >= ends
    env.close()


@pytest.mark.long
def test_a_lost_life_ends_an_episode_but_not_the_game():
    """Stacks start anew from the current frame, as a buffer of frames makes them."""
    env = AtariEnvironment(BREAKOUT, terminal_on_life_loss=True, **CERTAIN)
    peer = single_game(BREAKOUT, **CERTAIN)
    actions = random_actions(env, 700, seed=3)
    results = stepped(env, actions)
    screen, info = peer.reset(seed=0)
    stack, lives = collections.deque([screen[..., -1]] * 4, 4), info["lives"]
    np.testing.assert_array_equal(next(results)[0], np.stack(stack, -1))
    lost = games = 0
    for action, result in zip(actions, results, strict=True):
        screen, reward, over, _, info = peer.step(action[0])
        stack.append(screen[..., -1])
        np.testing.assert_array_equal(result.next_observation[0], np.stack(stack, -1))
        died = 0 < info["lives"] < lives
        assert result.terminated[0] == (over or died)
        assert not result.truncated[0]
        assert result.reward[0] == reward
        if over:
            screen, info = peer.reset()
        if over or died:
            stack.extend([screen[..., -1]] * 4)
        np.testing.assert_array_equal(result.observation[0], np.stack(stack, -1))
        lives, lost, games = info["lives"], lost + died, games + over
    assert lost >= 8
    assert games >= 2


def test_lives_are_counted_from_the_start_of_each_game():
    """Of lives after a step, and whether it ended the game; a new game has five."""
    world = AtariEnvironment(BREAKOUT, terminal_on_life_loss=True)._world
    world.reset(np.array([0, 1]))
    script = [
        (0, True, 1),  # the game is over
        (4, False, 1),  # the first life of the next one
        (5, False, 0),  # a life won
        (4, False, 1),
        (0, False, 0),  # some games end a little later than the last life
        (0, True, 1),
        (5, False, 0),  # more lives than before, in a new game
    ]
    steps = iter(script)

    def ask(method, *arguments, **keywords):
        lives, over, _ = (5, None, 0) if method == "reset" else next(steps)
        frames, info = np.zeros([1, 1, 84, 84], np.uint8), {"lives": np.array([lives])}
        if method == "reset":
            return frames, info
        return frames, np.zeros([1]), np.array([over]), np.array([False]), info

    world._ask = ask
    for _, _, expected in script:
        _, outcome = world.step(world._token, np.array([0]))
        assert outcome[1, 0] == expected


def test_the_time_limit_counts_games_not_lives():
    env = AtariEnvironment(
        BREAKOUT, 2, terminal_on_life_loss=True, max_episode_steps=60, **CERTAIN
    )
    _, result = play(env, random_actions(env, 130, seed=3))
    expected = np.arange(1, 131) % 60 == 0  # no game ends that soon
    np.testing.assert_array_equal(result.truncated, np.stack([expected] * 2, 1))
    assert result.terminated.sum() >= 3


def run(env, seed=SEED, steps=40):
    """Newest frames `[steps + 1, N, 84, 84]`, the actions the same for all copies."""
    actions = np.tile(random_actions(env, steps)[:, :1], env.num_envs)
    first, result = play(env, actions, seed=tf.constant(seed))
    return np.concatenate([first[None], result.observation])[..., -1].astype(int)


@pytest.mark.long
def test_equal_seeds_give_equal_runs_and_others_do_not():
    settings = {"num_envs": 2, "noop_max": 30, "max_episode_steps": 15}
    env = AtariEnvironment(BREAKOUT, **settings)
    runs = [run(env, seed) for seed in ([0, 1], [0, 1], [1, 0], [0, -1])]
    np.testing.assert_array_equal(runs[0], runs[1])
    other = run(AtariEnvironment(BREAKOUT, **settings), [0, 1])
    np.testing.assert_array_equal(runs[0], other)
    for part in (slice(0, 15), slice(15, None)):  # in later episodes neither
        rows = [run[part, row].tobytes() for run in runs[1:] for row in range(2)]
        assert len(set(rows)) == 6  # no two copies, no two seeds are alike


@pytest.mark.long
def test_chance_only_where_asked_for():
    env = AtariEnvironment(INVADERS, 2, **CERTAIN)
    frames = run(env, [0, 1])
    np.testing.assert_array_equal(frames, run(env, [5, 6]))
    idle = play(env, np.zeros([40, 2], int))[1].observation[..., -1]
    stuck = run(AtariEnvironment(INVADERS, 2, sticky_actions=1.0))
    np.testing.assert_array_equal(stuck[1:], idle)  # actions never get through
    assert (frames[1:] != idle).any()


@pytest.mark.long
def test_idle_frames_are_drawn_up_to_the_maximum():
    env = AtariEnvironment(PONG, 4, noop_max=3)
    ask, numbers = env._world._ask, []

    def listening(method, **keywords):
        result = ask(method, **keywords)
        numbers.extend(result[1]["episode_frame_number"])
        return result

    env._world._ask = listening
    for seed in range(6):
        env.reset(tf.constant([seed, 0]))
    counts = np.bincount(numbers, minlength=4)
    assert counts.sum() == 24
    assert len(counts) == 4  # none above 3
    assert counts.min() >= 2  # each expected 6 times


def test_shapes_and_dtypes_are_static(mode):
    env = AtariEnvironment(PONG, 3, frame_stack=2)
    assert (env.frame_stack, env.always_valid, env.in_graph) == (2, True, False)
    state, first = mode(env.reset)(SEED)
    state, time_step = mode(env.step)(state, tf.constant([0, 1, 5]), SEED)
    assert [(tuple(x.shape), x.dtype) for x in (first, *time_step)] == [
        *[((3, 84, 84, 2), tf.uint8)] * 3,
        ((3,), tf.float32),
        *[((3,), tf.bool)] * 3,
    ]
    traced = tf.function(env.step).get_concrete_function(
        state, tf.constant([0, 1, 5]), SEED
    )
    for spec, value in zip(traced.structured_outputs[1], time_step, strict=True):
        assert (spec.shape, spec.dtype) == (value.shape, value.dtype)


def test_returned_values_do_not_change_later():
    env = AtariEnvironment(INVADERS, 2, **CERTAIN)
    state, first = env.reset(SEED)
    kept, copies = [first], [first.numpy().copy()]
    for _ in range(4):
        state, time_step = env.step(state, tf.constant([1, 2]), SEED)
        kept += [time_step.observation, time_step.next_observation]
        copies += [value.numpy().copy() for value in kept[-2:]]
    for value, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(value, copy)


def test_full_action_space():
    assert AtariEnvironment(BREAKOUT).action_space.n == 4
    assert AtariEnvironment(BREAKOUT, full_action_space=True).action_space.n == 18


@pytest.mark.parametrize("action", [[0, 6], [-1, 0]])
def test_actions_outside_the_space_are_an_error(mode, action):
    env = AtariEnvironment(INVADERS, 2)
    with pytest.raises(ValueError, match=r"integer in \[0, 5\]. Received: (6|-1)"):
        play(env, [action], mode)


def test_failures_name_the_step(mode):
    env = AtariEnvironment(INVADERS, 2)
    play(env, [[0, 0]] * 2, mode)

    def explode(action):
        raise ZeroDivisionError("boom")

    env._world._vector.step = explode
    with pytest.raises(EnvironmentFailure, match=r"Space.*step 1\) raised Z") as caught:
        play(env, [[0, 0]], mode)
    assert caught.value.step == 1
    assert type(caught.value.__cause__) is ZeroDivisionError


def test_goes_on_after_an_interrupt(mode):
    """Threads that were told to step, and nobody waited: `reset` starts new ones."""
    env = AtariEnvironment(INVADERS, 2)
    state, expected = env.reset(SEED)
    vector = env._world._vector

    def interrupted(action):
        vector.send(action)
        raise KeyboardInterrupt

    vector.step = interrupted
    with pytest.raises(KeyboardInterrupt), env.errors():
        mode(env.step)(state, tf.constant([0, 1]), SEED)
    with pytest.raises(RuntimeError, match="Call `reset`"), env.errors():
        mode(env.step)(state, tf.constant([0, 1]), SEED)
    again, first = env.reset(SEED)
    np.testing.assert_array_equal(first, expected)
    env.step(again, tf.constant([0, 1]), SEED)


def test_old_states_and_closed_environments_are_refused(mode):
    env = AtariEnvironment(INVADERS)
    state, _ = env.reset(SEED)
    mode(env.step)(state, tf.constant([0]), SEED)
    with pytest.raises(RuntimeError, match="Received an older one"), env.errors():
        mode(env.step)(state, tf.constant([0]), SEED)
    env.close()
    env.close()
    for call in (lambda: mode(env.reset)(SEED),
                 lambda: mode(env.step)(state, tf.constant([0]), SEED)):  # fmt: skip
        with pytest.raises(RuntimeError, match="SpaceInvaders-v5 is clo"), env.errors():
            call()


def test_make_prefers_this_environment():
    env = make(PONG, num_envs=2, noop_max=30, terminal_on_life_loss=True)
    assert isinstance(env, AtariEnvironment)
    assert (env.id, env.num_envs, env.max_episode_steps) == (PONG, 2, 27_000)
    bridge = make(PONG, backend="gymnasium", frameskip=2)
    assert isinstance(bridge, GymnasiumEnvironment)
    assert bridge.observation_space.shape == (210, 160, 3)


@pytest.mark.parametrize(
    ("id", "settings", "message"),
    [
        (PONG, {"stickyactions": 0.0}, r"keyword of `ALE/Pong-v5`.*'sticky_actions'"),
        (PONG, {"obs_type": "ram"}, "Received: 'obs_type'"),
        (PONG, {"frame_skip": 0}, "`frame_skip` to be an integer >= 1"),
        (PONG, {"frame_stack": 1.5}, "`frame_stack` to be an integer >= 1"),
        (PONG, {"sticky_actions": 1.5}, r"`sticky_actions` in \[0.0, 1.0\]"),
        (PONG, {"noop_max": -1}, r"`noop_max` in \[0, inf\)"),
        (PONG, {"noop_max": 1.5}, "`noop_max` to be an integer"),
        (PONG, {"max_episode_steps": 0}, "`max_episode_steps` to be an integer"),
        (PONG, {"num_envs": 0}, "`num_envs` to be an integer"),
        (PONG, {"backend": "tensorflow"}, "with a TensorFlow version"),
        ("ALE/Pnog-v5", {}, "Expected an id of this library or of Gymnasium.*Pong"),
    ],
)
def test_errors_help(id, settings, message):
    with pytest.raises(ValueError, match=message):
        make(id, **settings)
    if not {"backend", "num_envs"} & {*settings}:
        with pytest.raises(
            ValueError, match=message.replace("this library or of ", "")
        ):
            make_single(id, **settings)


def test_only_games_of_the_learning_environment():
    with pytest.raises(ValueError, match=r"such as \"ALE/Pong-v5\". Received: 'Cart"):
        AtariEnvironment("CartPole-v1")


@pytest.mark.long
def test_an_agent_learns_from_it():
    agent = PPO.for_env(
        PONG,
        num_envs=2,
        rollout_length=4,
        num_epochs=1,
        hidden=(8,),
        shared_trunk=True,
        batch_size=8,
    )
    history = agent.fit(PONG, steps=16, epochs=2, verbose=0)
    assert history.history["env_steps"] == [8, 16]
    assert agent.network.input_shape == (None, 84, 84, 4)
