"""What workers play and hand over, and in what form."""

import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2.distributed.flat import FlatVariables, policy_variables
from kerasrl2.distributed.player import Place, Player
from kerasrl2.distributed.sending import agent_bytes, agent_from, objects_used
from kerasrl2.distributed.transitions import n_step_transitions
from kerasrl2.types import Rollout

ALONE = Place(0, 1, 0, 3)


def dqn(**settings):
    """A small prioritized agent of 3-step returns."""
    known = {"prioritized": True, "n_step": 3, "num_envs": 2, "hidden": (8,)}
    known |= {"learning_starts": 8, "seed": 3}
    return krl.agents.DQN.for_env("CartPole-v1", **{**known, **settings})


class TestFlatVariables:
    @pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", "half"])
    @pytest.mark.parametrize("xla", [False, True])
    def test_gives_back_the_same_bits(self, dtype, xla):
        values = np.array([[0, 1, 3]]).astype(tf.as_dtype(dtype).as_numpy_dtype)
        if dtype == "float64":
            values = values / 3.0
        variable = tf.Variable(values, trainable=False)
        flat = FlatVariables([variable, tf.Variable(2.5)])
        vector = tf.function(flat.read, jit_compile=xla)().numpy()
        assert vector.shape == (flat.size,)
        assert vector.dtype == np.float32
        variable.assign(tf.zeros_like(variable))
        tf.function(flat.write, jit_compile=xla)(vector)
        np.testing.assert_array_equal(variable.numpy(), values)

    def test_words_that_are_no_numbers_stay_as_they_are(self):
        patterns = np.array([0x7FF0DEADBEEF0001, 0x7FA00001, -1, 1], np.int64)
        variable = tf.Variable(patterns)
        flat = FlatVariables([variable])
        vector = flat.read().numpy()
        variable.assign(tf.zeros_like(variable))
        flat.write(vector)
        np.testing.assert_array_equal(variable.numpy(), patterns)

    def test_an_agent_and_its_copy_agree(self):
        agent = krl.agents.PPO.for_env(
            "CartPole-v1", normalize_observations=True, hidden=(8,), seed=0
        )
        data = agent_bytes(agent)
        copy = agent_from(data, agent.loader(), objects_used(data))
        ours, theirs = (FlatVariables(policy_variables(a)) for a in (agent, copy))
        assert ours.layout == theirs.layout
        np.testing.assert_array_equal(ours.read().numpy(), theirs.read().numpy())
        assert not any(v is agent.env_steps.value for v in policy_variables(agent))

    def test_a_changed_number_is_sent(self):
        agent, other = dqn(), dqn()
        agent.gamma = 0.5
        flat = FlatVariables(policy_variables(agent))
        FlatVariables(policy_variables(other)).write(flat.read())
        assert other.gamma == 0.5


class TestTransitions:
    def test_by_hand(self):
        """3 steps, gamma 0.9, r = [1, 2, 3], V = 10: 12.52 (004-12)."""
        off = tf.zeros([3, 1], tf.bool)
        x = tf.reshape(tf.range(4.0), [4, 1, 1])
        reward = tf.constant([[1.0], [2.0], [3.0]])
        rollout = Rollout(x[:3], off, reward, off, off, ~off, x[1:])
        batch = n_step_transitions(rollout, 3, 0.9)
        target = batch.reward + batch.discount * 10.0
        assert float(target[0]) == pytest.approx(12.52, abs=1e-5)
        assert batch.next_observation.numpy()[:, 0].tolist() == [3.0] * 3

    @pytest.mark.parametrize("n_step", [1, 3, 5])
    def test_are_those_that_the_buffer_gives(self, n_step):
        rng = np.random.default_rng(n_step)
        length, count = 12, 3
        ends = rng.random([2, length, count]) < 0.2
        terminated, truncated = ends
        truncated[-1] = True  # as a learner stores it
        rows = np.arange(length * count).reshape(length, count, 1).astype("float32")
        rollout = Rollout(
            observation=rows, action=rng.integers(0, 2, [length, count], np.int32),
            reward=rng.normal(size=[length, count]).astype("float32"),
            terminated=terminated, truncated=truncated,
            valid=np.ones([length, count], bool), next_observation=rows + count,
        )  # fmt: skip
        buffer = krl.buffers.ReplayBuffer(100, count, n_step=n_step, gamma=0.9)
        index = tf.reshape(buffer.add_rollout(rollout), [-1])
        wanted = buffer.get(index)
        given = n_step_transitions(tf.nest.map_structure(
            tf.convert_to_tensor, rollout._replace(
                last_observation=rows[0], parameters=(), value=(), log_ratio=())
        ), n_step, 0.9)  # fmt: skip
        for name in ("observation", "action", "reward", "discount", "next_observation"):
            np.testing.assert_allclose(
                getattr(given, name), getattr(wanted, name), 1e-6, 1e-6, err_msg=name
            )


class TestPlayer:
    def test_actors_priorities_are_the_learners(self):
        """Equal weights, equal TD errors: to 1e-6 (004-12)."""
        agent = dqn()
        player = Player(
            dqn(), krl.envs.make("CartPole-v1", num_envs=2), "transitions", ALONE, 16
        )
        vector = FlatVariables(policy_variables(agent)).read()
        block = player.play(vector, 0)
        rollout = Rollout(**block.fields)
        last = np.arange(16)[:, None] == 15
        buffer = agent.buffer
        index = buffer.add_rollout(
            rollout._replace(truncated=rollout.truncated | last), block.td_error
        )
        flat = tf.reshape(index, [-1])
        batch = buffer.get(flat)
        error = agent.td_errors(batch, tf.constant([0, 0])).numpy()
        np.testing.assert_allclose(block.td_error.ravel(), error, atol=1e-6)
        key = (np.abs(error) + buffer.epsilon) ** buffer.alpha
        np.testing.assert_allclose(buffer.probability(flat), key / key.sum(), 1e-5)

    @pytest.mark.long
    def test_the_first_of_a_run_plays_what_the_loop_plays(self):
        make = lambda: krl.agents.PPO.for_env(  # noqa: E731
            "CartPole-v1", hidden=(8,), num_envs=2, rollout_length=8, batch_size=16,
            seed=3, num_epochs=1,
        )  # fmt: skip
        agent = make()
        env = krl.envs.make("CartPole-v1", num_envs=2)
        player = Player(make(), env, "rollouts", ALONE, 8)
        block = player.play(FlatVariables(policy_variables(agent)).read(), 0)
        loop = agent.loop(krl.envs.make("CartPole-v1", num_envs=2))
        carry, rollout = loop._play(loop._values(), loop._seeds(0)[0])
        for name in ("observation", "action", "reward"):
            np.testing.assert_allclose(
                block.fields[name], getattr(rollout, name), atol=1e-6, err_msg=name
            )
        np.testing.assert_allclose(
            block.carry.actor.observation, carry.actor.observation, atol=1e-6
        )

    def test_others_draw_other_numbers_and_the_same_ones_again(self):
        seeds = [
            Place(slot, 3, gen, 3).own_seed() for slot in range(3) for gen in (0, 1)
        ]
        assert len(set(seeds)) == 6
        assert seeds[0] == 3
        assert seeds == [
            Place(slot, 3, gen, 3).own_seed() for slot in range(3) for gen in (0, 1)
        ]

    @pytest.mark.long
    def test_goes_on_from_a_state_that_it_handed_over(self):
        agent = dqn()
        vector = FlatVariables(policy_variables(agent)).read()

        def player():
            env = krl.envs.make("CartPole-v1", num_envs=2)
            return Player(dqn(), env, "transitions", ALONE, 8)

        first, second = player(), player()
        state = first.play(vector, 0).carry
        wanted = first.play(vector, 16)
        second.begin(state)
        again = second.play(vector, 16)
        tf.nest.map_structure(np.testing.assert_array_equal, wanted, again)
