"""Players whose actions are known, with what `Seat` and `Match` need of agents."""

import tensorflow as tf

from kerasrl2.agents.specs import ObservationSpec
from kerasrl2.distributions import head_for
from kerasrl2.types import PolicyOutputs


class Fixed(tf.Module):
    """Plays one action, held in a variable; or a function of what it has seen."""

    acts_at_random = False

    def __init__(self, env, action=0, function=None):
        super().__init__()
        self.observation_spec = ObservationSpec.of_space(env.observation_space)
        self.head = head_for(env.action_space)
        self.action = tf.Variable(action, trainable=False)
        self.function = function
        self.env_steps = tf.Variable(0, trainable=False, dtype=tf.int64)

    def initial_state(self, num_envs):
        return tf.zeros([num_envs], tf.int32)  # steps of the episode so far

    def forward(self, observation, policy_state=(), training=False, seed=None):
        rows = tf.nest.flatten(observation)[0].shape[0]
        if self.function is None:
            action = tf.repeat(self.action[None], rows, axis=0)
        else:
            action = self.function(observation, policy_state)
        return PolicyOutputs(action, None, policy_state + 1)

    def choose(self, outputs, seed, env_steps):
        return outputs.parameters

    def greedy(self, outputs):
        return outputs.parameters
