"""Builds actor-critic agents for an environment from keywords."""

from typing import Literal

from kerasrl2._checks import check_choice, check_keywords, check_range, plain_numbers
from kerasrl2.agents.intrinsic import intrinsic_reward_for
from kerasrl2.agents.keywords import keywords_of
from kerasrl2.agents.owned import looked_at
from kerasrl2.agents.specs import (
    ObservationSpec,
    normalizer_for,
    seen_by_network,
)
from kerasrl2.distributions import head_for
from kerasrl2.distributions.spaces import KINDS
from kerasrl2.layers import (
    RewardScaling,
    actor_critic,
    recurrent_actor_critic,
    seed_weights,
)
from kerasrl2.layers.cells import cell_of, output_size

DISTRIBUTIONS = ("auto", *KINDS)


class ActorCriticBuilder:
    """Mixin with `for_env` of actor-critic agents."""

    @classmethod
    @plain_numbers
    def for_env(
        cls,
        env,
        network=None,
        hidden=(64, 64),
        activation="tanh",
        shared_trunk=False,
        encoder="auto",
        recurrent: Literal["lstm", "gru"] | None = None,
        recurrent_units=64,
        distribution="auto",
        standard_deviation="independent",
        initial_log_std=0.0,
        noise_steps=4,
        normalize_observations=False,
        normalize_rewards=False,
        gamma=0.99,
        seed=None,
        intrinsic_reward: Literal["rnd"] | None = None,
        **hyperparameters,
    ):
        """Makes an agent whose network and policy head fit an environment.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            network: Keras model from observations to `[parameters, value]`, or one that
                remembers (see `layers.RecurrentNetwork`), or None to build one from the
                next arguments.
            hidden: Sequence of integers, units of the hidden layers.
            activation: String, Keras activation of the hidden layers.
            shared_trunk: Boolean, whether policy and value share their hidden layers
                (and recurrent cell).
            encoder: `"auto"` (by the space, see `layers.encoder_for`), `"mlp"`,
                `"impala_cnn"`, `"nature_cnn"`, `"small_cnn"` or `"grid_cnn"`.
            recurrent: `"lstm"`, `"gru"`, a recurrent cell of Keras or a list of them,
                one above the other: it follows the hidden layers, and the policy
                remembers. None: it does not. See `layers.recurrent_actor_critic`.
            recurrent_units: Integer >= 1, units of a cell with a name.
            distribution: `"auto"` (by the space), `"gaussian"`, `"squashed_gaussian"`,
                `"beta"`, or `"gsde"`, noise that is a function of the state; see
                `distributions.head_for`.
            standard_deviation: `"independent"` of the state or `"dependent"` on it.
            initial_log_std: Float, initial log standard deviation.
            noise_steps: Integer >= 1, steps for which `"gsde"` keeps its noise.
            normalize_observations: Boolean, by running mean and variance; `Discrete`
                ones and pictures of 8 bits stay as they are.
            normalize_rewards: Boolean, by the running standard deviation of returns.
            gamma: Float in [0, 1], discount per env step.
            seed: Integer or None, of weights, actions and environments.
            intrinsic_reward: `"rnd"`, a bonus for new observations; a dictionary of
                keywords of `random_network_distillation`; a
                `layers.RandomNetworkDistillation`; or None.
            **hyperparameters: Keywords of the constructor.

        Returns:
            An agent.
        """
        known = set(keywords_of(cls)) - {"env", "head", "observation_spec"}
        check_keywords(f"{cls.__name__}.for_env", hyperparameters, known)
        check_range("seed", seed, 0)
        check_choice("distribution", distribution, DISTRIBUTIONS)
        with looked_at(env) as example:
            spec = ObservationSpec.of_space(example.observation_space)
            options = {}
            if distribution == "gsde":
                options = {
                    "num_features": _features(hidden, recurrent, recurrent_units),
                    "noise_steps": noise_steps,
                }
            head = head_for(example.action_space, distribution, **options)
        if normalize_observations:
            hyperparameters["observation_normalizer"] = normalizer_for(spec.for_network)
        normalizer = hyperparameters.get("observation_normalizer")
        bonus = intrinsic_reward_for(intrinsic_reward, spec, seed)
        if bonus is not None:
            hyperparameters["intrinsic_reward"] = bonus
        if network is None:
            gaussian = "gaussian" in head.kind or head.kind == "gsde"
            if head.kind == "gsde":
                standard_deviation = "gsde"
            more = {}
            if recurrent is not None:
                more["cell"] = cell_of(recurrent, recurrent_units)
            if bonus is not None:
                more["intrinsic_value"] = True
            network = cls.default_network(
                seen_by_network(spec.for_network, normalizer),
                head.num_parameters,
                hyperparameters,
                hidden=hidden,
                activation=activation,
                shared=shared_trunk,
                encoder=encoder,
                gaussian_std=standard_deviation if gaussian else None,
                initial_log_std=initial_log_std,
                **more,
            )
            if seed is not None:
                seed_weights(network, seed)
        elif recurrent is not None:
            raise ValueError(
                "Expected `recurrent` or `network`, not both: a network that remembers "
                f"has its cell inside. Received: recurrent={recurrent!r}, and "
                f"{network.name!r}"
            )
        if normalize_rewards:
            hyperparameters["reward_scaling"] = RewardScaling(gamma)
        return cls(network, head, spec, gamma=gamma, seed=seed, **hyperparameters)

    @classmethod
    def default_network(cls, observation_spec, num_parameters, hyperparameters, **more):
        """The network that `for_env` makes, by default `layers.actor_critic`.

        With a `cell` it is `layers.recurrent_actor_critic`.

        Args:
            observation_spec: `ObservationSpec`.
            num_parameters: Integer, `head.num_parameters`.
            hyperparameters: Dictionary of keywords of the constructor.
            **more: Keywords of these functions.
        """
        del hyperparameters
        if "cell" in more and "intrinsic_value" in more:
            raise ValueError(
                "Expected `recurrent` or `intrinsic_reward`, not both: what a network "
                "remembers has no value of its own for a bonus. Received: both."
            )
        build = recurrent_actor_critic if "cell" in more else actor_critic
        return build(observation_spec, num_parameters, **more)


def _features(hidden, recurrent, units):
    """Units of the last hidden layer, whose outputs are the features of `"gsde"`."""
    if recurrent is not None:
        return output_size(cell_of(recurrent, units))
    if not len(hidden):
        raise ValueError(
            "Expected a hidden layer with distribution='gsde': its outputs make the "
            f"noise. Received: hidden={hidden}"
        )
    return int(hidden[-1])
