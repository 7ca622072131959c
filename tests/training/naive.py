"""The off-policy loop written down plainly."""

import tensorflow as tf


def naive_loop(agent, env, seed, iterations):
    """What the loop does, eagerly and one thing after the other.

    Each iteration plays with the weights of its start, learns from what the buffer held
    before, and then stores what was played, step by step.
    """
    state, observation = env.reset(tf.constant([seed, -1]))
    agent.buffer.build(
        tf.TensorSpec(observation.shape[1:]), tf.TensorSpec([], tf.int32), env.num_envs
    )
    limit, env_steps = agent.clip_rewards, 0
    for iteration in range(iterations):
        of_playing, of_learning = random_seeds([2, 2], [seed, iteration])
        ready = int(agent.buffer.added()) >= agent.learning_starts
        played = []
        for seeds in random_seeds([agent.train_frequency, 3, 2], of_playing):
            outputs = agent.forward(observation, seed=seeds[2])
            now = tf.constant(env_steps, tf.int64)
            action = agent.choose(outputs, seeds[0], now)
            state, after = env.step(state, action, seeds[1])
            played.append((observation, action, after))
            observation, env_steps = after.observation, env_steps + env.num_envs
        for g in range(agent.gradient_steps if ready else 0):
            seeds = of_learning + tf.constant([0, g])
            index, batch = agent.buffer.sample(agent.batch_size, seeds)
            _, td_error = agent.update(batch, seeds)
            if hasattr(agent.buffer, "update_priorities"):
                agent.buffer.update_priorities(index, td_error)
        for seen, action, after in played:
            reward = after.reward
            if limit is not None:
                reward = tf.minimum(tf.maximum(reward, -limit), limit)
            agent.buffer.add(
                seen, action, reward, after.terminated, after.truncated,
                after.next_observation, after.valid,
            )  # fmt: skip


def random_seeds(shape, seed):
    return tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg="philox")
