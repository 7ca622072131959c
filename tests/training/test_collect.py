"""Tests of `training.collect`: what an agent plays, row by row."""

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.agents import PPO
from kerasrl2.training.collect import ActorState, begin_episodes, collect
from kerasrl2.types import Rollout
from tests.harness import xla_in_long_runs
from tests.training.players import Gated, Player, Summing, begun, table
from tests.training.worlds import Scripted

SEED = tf.constant([3, 4])


def naive(player, env, length, env_steps):
    """`collect` by a loop: lists of what each step saw, did, and brought."""
    seeds = tf.random.stateless_uniform(
        [length, 3, 2], SEED, None, None, tf.int32, alg="philox"
    )
    state, observation = env.reset(tf.constant([0, 1]))
    memory, rows = player.initial_state(env.num_envs), []
    for t in range(length):
        outputs = player.forward(observation, memory, seed=seeds[t, 2])
        action = player.choose(outputs, seeds[t, 0], tf.constant(env_steps[t]))
        state, after = env.step(state, 10 * action, seeds[t, 1])
        rows.append(
            Rollout(
                observation, action, after.reward, after.terminated, after.truncated,
                after.valid, after.next_observation, parameters=outputs.parameters,
                value=outputs.value,
            )
        )  # fmt: skip
        memory, observation = outputs.policy_state, after.observation
    kept = {
        name: np.stack([getattr(row, name) for row in rows])
        for name in ("observation", "action", "reward", "terminated", "truncated",
                     "valid", "next_observation", "parameters", "value")
    }  # fmt: skip
    return kept | {"last_observation": observation}


ENVS = {
    "episodes": lambda: Scripted([2, 5, 3], 3, cut=2),
    "rows that do not count": lambda: Scripted([2, 3], 2, 1, 2, True, junk=9.0),
    "random rewards": lambda: table(12, at=(2, 5, 6)),
}


@pytest.mark.parametrize(
    ("compiled", "env"),
    [
        ("graph", "episodes"),
        ("eager", "rows that do not count"),
        ("graph", "rows that do not count"),
        ("xla", "rows that do not count"),
        ("eager", "random rewards"),
    ],
    indirect=["compiled"],
)
def test_is_the_naive_loop(compiled, env):
    env, player = ENVS[env](), Player()
    env_steps = np.arange(12) * 3 + 7

    def play(seed):
        options = {"env_steps": tf.constant(env_steps), "keep": "outputs"}
        return collect(player, env, begun(player, env), 12, seed, **options)

    state, rollout = compiled(play)(SEED)
    for name, expected in naive(player, env, 12, env_steps).items():
        np.testing.assert_allclose(
            getattr(rollout, name), expected, rtol=1e-5, atol=1e-5, err_msg=name
        )
    np.testing.assert_array_equal(state.observation, rollout.last_observation)
    ended = rollout.terminated | rollout.truncated
    assert len({tuple(row) for row in rollout.action.numpy()}) > 3
    assert np.any(ended)


def test_env_steps_may_be_one_number_for_all():
    env, player = table(), Player()
    player.choose = lambda outputs, seed, env_steps: tf.fill(
        outputs.value.shape, tf.cast(env_steps, tf.int32)
    )
    for given, expected in [(7, [7] * 5), (tf.range(2, 7), [2, 3, 4, 5, 6])]:
        rollout = collect(
            player, env, begun(player, env), 5, SEED, env_steps=given
        )[1]  # fmt: skip
        assert rollout.action[:, 0].numpy().tolist() == expected


def test_greedily_there_is_neither_noise_nor_chance():
    env, player = Scripted([2, 5, 3], 3), Player()
    played = [
        collect(player, env, begun(player, env), 6, [seed, 0], greedy=True)[1]
        for seed in (0, 1)
    ]
    np.testing.assert_array_equal(*(rollout.action for rollout in played))
    for seen, action in zip(played[0].observation, played[0].action, strict=True):
        np.testing.assert_array_equal(player.greedy(player.forward(seen)), action)


FIELDS = {"signals": {"reward", "terminated", "truncated", "valid"}}
FIELDS["signals"] |= {"last_observation", "policy_state", "last_policy_state"}
FIELDS["steps"] = FIELDS["signals"] | {"observation", "next_observation", "action"}
FIELDS["outputs"] = FIELDS["steps"] | {"parameters", "value"}


@pytest.mark.parametrize("keep", ["signals", "steps"])
@pytest.mark.parametrize("length", [1, 5])
def test_what_is_kept(keep, length):
    """The game is the same whatever is kept of it."""
    env, player = table(), Summing()
    less, all_of_it = (
        collect(
            player, env, begun(player, env), length, SEED, keep=kept, keep_states=states
        )[1]
        for kept, states in ((keep, False), ("outputs", True))
    )
    assert FIELDS["outputs"] == set(Rollout._fields) - {"policy_states", "log_ratio"}
    assert less.policy_states == ()
    states = [all_of_it.policy_state, *all_of_it.policy_states[1:]]
    np.testing.assert_array_equal(all_of_it.policy_states, states)
    assert all_of_it.policy_states.shape == [length, 4]
    for name in FIELDS["outputs"]:
        if name in FIELDS[keep]:
            np.testing.assert_array_equal(getattr(less, name), getattr(all_of_it, name))
        else:
            assert getattr(less, name) is None


def test_nothing_else_can_be_kept():
    with pytest.raises(ValueError, match="`keep` to be one of: signals, steps, out"):
        collect(Player(), table(), begun(Player(), table()), 2, SEED, keep="all")


@xla_in_long_runs
def test_ends_early(compiled):
    """Once each copy has ended an episode: after step 4 of 2, 4 and 3."""
    env, player = Scripted([2, 4, 3], 3, stride=0), Player()

    def play(seed, until):
        return collect(player, env, begun(player, env), 9, seed, until=until)

    def each_has_ended(ended):
        assert ended.dtype == tf.int32
        return tf.reduce_all(ended >= 1)

    _, whole = play(SEED, None)
    state, rollout = compiled(lambda seed: play(seed, each_has_ended))(SEED)
    assert rollout.valid.shape == whole.valid.shape == (9, 3)
    assert rollout.valid.numpy().tolist() == [[True] * 3] * 4 + [[False] * 3] * 5
    for name in ("observation", "action", "reward", "terminated", "next_observation"):
        played = getattr(rollout, name)[:4], getattr(whole, name)[:4]
        np.testing.assert_array_equal(*played, err_msg=name)
    np.testing.assert_array_equal(state.observation, whole.observation[4])
    np.testing.assert_array_equal(rollout.last_observation, whole.observation[4])
    assert not np.any(rollout.terminated[4:] | rollout.truncated[4:])
    assert np.all(whole.valid)


def test_rows_that_do_not_count_end_no_episode():
    """Though junk in them says so: copy 0 ends at steps 2 and 5, not at 3."""
    env, player = Scripted([2], 1, next_step_reset=True, junk=1.0), Player()
    rollout = collect(
        player, env, begun(player, env), 9, SEED,
        until=lambda ended: tf.reduce_all(ended >= 2),
    )[1]  # fmt: skip
    valid = [True, True, False, True, True, False, False, False, False]
    assert rollout.valid[:, 0].numpy().tolist() == valid


def test_no_step_is_made_if_there_is_nothing_to_wait_for():
    env, player = table(), Summing()
    first = begun(player, env)
    state, rollout = collect(
        player, env, first, 1, SEED, until=lambda ended: tf.constant(True)
    )
    assert not np.any(rollout.valid)
    tf.nest.map_structure(np.testing.assert_array_equal, state, first)


@xla_in_long_runs
def test_one_step_is_the_first_of_many(compiled):
    env, player = Scripted([2, 5, 3], 3, cut=2), Player()

    def play(length, seed):
        return collect(
            player, env, begun(player, env), length, seed, keep="outputs"
        )[1]  # fmt: skip

    one = compiled(lambda seed: play(1, seed))(SEED)
    many = compiled(lambda seed: play(7, seed))(SEED)
    for name in FIELDS["outputs"] - {"last_observation"}:
        if "policy_state" not in name:
            first = getattr(one, name), getattr(many, name)[:1]
            np.testing.assert_allclose(*first, rtol=1e-6, err_msg=name)
    np.testing.assert_array_equal(one.last_observation, many.observation[1])


def test_step_by_step_is_the_same_game():
    env, player = table(), Summing()
    state, rows = begun(player, env), []
    whole = collect(player, env, state, 5, SEED, greedy=True, keep="outputs")
    for _ in range(5):
        state, row = collect(player, env, state, 1, SEED, greedy=True, keep="outputs")
        rows.append(row)
    tf.nest.map_structure(np.testing.assert_array_equal, state, whole[0])
    for name in ("observation", "action", "terminated", "truncated", "valid", "value"):
        joined = np.concatenate([getattr(row, name) for row in rows])
        np.testing.assert_array_equal(joined, getattr(whole[1], name), err_msg=name)


# Policies that remember


@xla_in_long_runs
def test_a_policy_forgets_where_an_episode_ends(compiled):
    """`h = (1 - reset) h + x` of x = 1, 2, 3, 4, 5, reset at 3 and at 5.

    Copies: terminated, cut, no transition, and one that goes on.
    """
    env, player = table(), Summing()

    def play(seed):
        return collect(player, env, begun(player, env), 5, seed, keep="outputs")

    state, rollout = compiled(play)(SEED)
    expected = [[1, 3, 3, 7, 5]] * 3 + [[1, 3, 6, 10, 15]]
    np.testing.assert_array_equal(tf.transpose(rollout.value), expected)
    np.testing.assert_array_equal(rollout.parameters[..., 0], rollout.value)
    np.testing.assert_array_equal(rollout.policy_state, [0, 0, 0, 0])
    np.testing.assert_array_equal(rollout.last_policy_state, [5, 5, 5, 15])
    np.testing.assert_array_equal(state.policy_state, rollout.last_policy_state)


def test_it_forgets_after_the_last_step_too():
    env, player = table(at=(4,)), Summing()
    _, rollout = collect(player, env, begun(player, env), 5, SEED)
    np.testing.assert_array_equal(rollout.last_policy_state, [0, 0, 0, 15])


def test_begins_with_the_first_state_of_the_policy():
    env, player = Scripted([3], 2), Gated()
    state = begun(player, env)
    assert isinstance(state, ActorState)
    np.testing.assert_array_equal(state.policy_state["h"], np.full([2, 2], 0.5))
    np.testing.assert_array_equal(state.observation, env.reset(None)[1])


def test_gsde_keeps_its_noise_for_some_steps():
    """With one feature `z` the noise of a step is `z sigma epsilon`."""
    agent = PPO.for_env(
        "Pendulum-v1", hidden=(1,), distribution="gsde", noise_steps=3, seed=0,
        num_envs=2, xla=False,
    )  # fmt: skip
    env = envs.make("Pendulum-v1", num_envs=2)
    state = begin_episodes(agent, env, SEED)
    _, rollout = collect(agent, env, state, 8, SEED, env_steps=0, keep="outputs")
    mean, factor = tf.unstack(rollout.parameters, axis=-1)
    epsilon = ((rollout.action[..., 0] - mean) / factor).numpy()
    for first in 0, 3, 6:
        np.testing.assert_allclose(
            epsilon[first : first + 3],
            np.repeat(epsilon[first : first + 1], min(3, 8 - first), axis=0),
            rtol=1e-4,
        )
    assert len(np.unique(np.round(epsilon[::3], 4))) == 6
    _, greedy = collect(
        agent, env, state, 4, SEED, env_steps=0, greedy=True, keep="outputs"
    )
    np.testing.assert_allclose(greedy.action[..., 0], greedy.parameters[..., 0])
