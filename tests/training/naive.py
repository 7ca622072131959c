"""The off-policy loop written down plainly."""

import tensorflow as tf


def naive_loop(agent, env, seed, iterations):
    """What the loop does with one update an iteration, eagerly, one after the other.

    With `overlap` batch and gradients are of the time before the iteration's steps;
    weights move before the last of them is stored all the same.
    """
    state, observation = env.reset(tf.constant([seed, -1]))
    env_action, action = agent.random_action(env.num_envs, [seed, -2])
    agent.buffer.build(
        tf.TensorSpec(observation.shape[1:]), tf.TensorSpec([], action.dtype),
        env.num_envs,
    )  # fmt: skip
    last = agent.train_frequency - 1
    step = 0
    for _ in range(iterations):
        for t in range(agent.train_frequency):
            seeds = tf.random.stateless_uniform(
                [3, 2], [seed, step], None, None, tf.int32, alg="philox"
            )
            if t == (0 if agent.overlaps else last):
                ready = int(agent.buffer.added()) >= agent.learning_starts
                if ready:
                    index, batch = agent.buffer.sample(agent.batch_size, seeds[2])
                    gradients = agent.compute_gradients(batch)
            state, after = env.step(state, env_action, seeds[0])
            if t == last and ready:
                td_error = agent.apply_gradients(gradients)["td_error"]
                if hasattr(agent.buffer, "update_priorities"):
                    agent.buffer.update_priorities(index, td_error)
            agent.buffer.add(
                observation, action, agent.stored_reward(after.reward),
                after.terminated, after.truncated, after.next_observation, after.valid,
            )  # fmt: skip
            observation, step = after.observation, step + env.num_envs
            now = tf.constant(step, tf.int64)
            env_action, action = agent.explore(observation, seeds[1], now)
