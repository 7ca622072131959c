"""A second optimizer for the critic of an actor-critic agent."""

from kerasrl2.agents.optimizing import (
    check_optimizer,
    checked_rate,
    is_of_another,
    missing_variables,
    named_optimizer,
    rate_of,
    renewed,
    with_rate,
)
from kerasrl2.agents.shares import shares_of


class CriticOptimizer:
    """Mixin of actor-critic agents: one loss, two guarded steps.

    With `critic_optimizer=None` the agent has one optimizer, named `optimizer`. Else
    there are `actor`, which is `agent.optimizer` and what `learning_rate` and `compile`
    are about, and `critic`. The gradients of both come from one backward pass; each
    part's norm is clipped by itself. A NaN in either keeps both from stepping.
    """

    def _give_critic_optimizer(self, optimizer, learning_rate):
        """Sets `critic_optimizer` from arguments of the constructor.

        Args:
            optimizer: Keras optimizer, the name of one, or None.
            learning_rate: Number, Keras schedule, or None: that of the actor's. With a
                number and no optimizer the critic's is one like the actor's.
        """
        self._critic_share = _Memo()
        if optimizer is None and learning_rate is not None:
            like = self.optimizer.get_config()
            rate = checked_rate(learning_rate)
            like = {**like, "learning_rate": rate, "name": "critic_optimizer"}
            optimizer = type(self.optimizer).from_config(like)
        elif isinstance(optimizer, str):
            rate = rate_of(self.optimizer) if learning_rate is None else learning_rate
            optimizer = named_optimizer(optimizer, learning_rate=checked_rate(rate))
        elif optimizer is not None:
            check_optimizer(optimizer)
        if optimizer is not None and optimizer is self.optimizer:
            raise ValueError(
                "Expected two optimizers, one of the actor and one of the critic. "
                f"Received: {type(optimizer).__name__} {optimizer.name!r} as both."
            )
        self.critic_optimizer = optimizer

    @property
    def _has_two(self):
        # A subclass with named optimizers only has a `critic_optimizer` of its own.
        return self.optimizer is not None and self.critic_optimizer is not None

    def actor_and_critic(self):
        """The `optimizers` of an agent with two."""
        critic = self._critic_share.of(self)
        known = {id(variable) for variable in critic}
        actor = [v for v in self.trainable_variables if id(v) not in known]
        return {
            "actor": (self.optimizer, actor),
            "critic": (self.critic_optimizer, critic),
        }

    @property
    def critic_learning_rate(self):
        """Number or Keras schedule over gradient steps, of the critic's optimizer.

        None if the agent has one optimizer. May be assigned, as `learning_rate`.
        """
        return rate_of(self.critic_optimizer) if self._has_two else None

    @critic_learning_rate.setter
    def critic_learning_rate(self, rate):
        if not self._has_two:
            raise ValueError(
                "Expected an agent with an optimizer of the critic's own. Received: "
                f"{type(self).__name__} with one for both. Make it with "
                "`critic_learning_rate=...`, or assign `learning_rate`."
            )
        variables = self.optimizers()["critic"][1]
        changed = with_rate(self.critic_optimizer, checked_rate(rate), variables)
        if changed is not self.critic_optimizer:
            self.critic_optimizer = changed

    def renew_optimizers(self):
        if not self._has_two:
            super().renew_optimizers()
            return
        for name, (optimizer, variables) in self.optimizers().items():
            if not missing_variables(optimizer, variables):
                continue
            if is_of_another(optimizer, variables):
                check_optimizer(optimizer, variables)
            changed = renewed(optimizer, variables)
            if name == "actor":
                self.compile(changed)
            else:
                self.critic_optimizer = changed

    def _only_variables(self):
        if not self._has_two:
            return super()._only_variables()
        return self.optimizers()["actor"][1]


class _Memo:
    """The critic's weights, found again only where others are trainable."""

    def __init__(self):
        self._key, self._critic = None, ()

    def of(self, agent):
        """List of the Keras variables that only an agent's value depends on."""
        key = [id(variable) for variable in agent.network.trainable_variables]
        if key == self._key:
            return list(self._critic)
        shares = shares_of(agent.network, agent.observation_spec)
        if shares.shared:
            names = ", ".join(variable.path for variable in shares.shared[:3])
            raise ValueError(
                f"Expected a network whose policy and value share no trainable weights "
                f"with `critic_optimizer` or `critic_learning_rate`: which of the two "
                f"would move them? Received: {type(agent).__name__} in which "
                f"{len(shares.shared)} are shared ({names}, ...). Make it with "
                "`shared_trunk=False`, detach one head by `stop_gradient`, or leave "
                "one optimizer."
            )
        self._key, self._critic = key, tuple(shares.critic)
        return list(self._critic)
