"""PPO with a policy that remembers: a gated recurrent unit before both outputs."""

import keras
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.agents import PPO, ObservationSpec, register
from kerasrl2.distributions import head_for
from kerasrl2.layers import seed_weights
from kerasrl2.types import PolicyOutputs


@keras.saving.register_keras_serializable(package="newcomers")
class GRUActorCritic(keras.Model):
    """`(observation, state)` to `[parameters, value, state]`.

    Args:
        shape: Sequence of integers, of an observation.
        num_parameters: Integer.
        units: Integer, of the state.
        **kwargs: Of `keras.Model`.
    """

    def __init__(self, shape, num_parameters, units, **kwargs):
        super().__init__(**kwargs)
        self.shape, self.num_parameters, self.units = (
            tuple(shape),
            num_parameters,
            units,
        )
        self.cell = keras.layers.GRUCell(units, seed=0)
        self.policy = keras.layers.Dense(num_parameters)
        self.critic = keras.layers.Dense(1)
        self.flatten = keras.layers.Flatten()
        self.features = keras.layers.Dense(units, activation="tanh")
        self(tf.zeros([1, *self.shape]))

    def call(self, observation, state=None, training=False):
        if state is None:
            state = tf.zeros([tf.shape(observation)[0], self.units])
        output, (state,) = self.cell(self.features(self.flatten(observation)), [state])
        return self.policy(output), self.critic(output), state

    def compute_output_spec(self, observation, state=None, training=False):
        rows = observation.shape[0]
        return tuple(
            keras.KerasTensor((rows, size))
            for size in (self.num_parameters, 1, self.units)
        )

    def get_config(self):
        own = {"shape": self.shape, "num_parameters": self.num_parameters}
        return {**super().get_config(), **own, "units": self.units}


@register(
    "recurrent_ppo",
    title="Recurrent PPO",
    quick={"units": 4, "num_envs": 4, "rollout_length": 8, "batch_size": 16},
    custom_objects=[GRUActorCritic],
)
@keras.saving.register_keras_serializable(package="newcomers")
class RecurrentPPO(PPO):
    """PPO whose network has a state; minibatches are whole environments."""

    @classmethod
    def for_env(cls, env, units=32, seed=None, **settings):
        made = envs.make(env)
        spec = ObservationSpec.of_space(made.observation_space)
        head = head_for(made.action_space)
        network = GRUActorCritic(spec.shape, head.num_parameters, units)
        if seed is not None:
            seed_weights(network, seed)
        return cls(network, head, spec, seed=seed, **settings)

    def initial_state(self, num_envs):
        return tf.zeros([num_envs, self.network.units])

    def forward(self, observation, policy_state=(), training=False, seed=None):
        observation = self.normalized(observation)
        parameters, value, state = self.network(
            observation, policy_state, training=training
        )
        return PolicyOutputs(parameters, value[:, 0], state)

    def _check_network(self):
        """The network's third output is its state."""
