"""Words of other libraries, and what the same is called here."""

import functools
import inspect

_STEPS = "total_timesteps", "num_timesteps", "n_timesteps", "timesteps", "nb_steps"
# By the words of others, the first that is known where one is looked for; without those
# that the nearest known word answers, such as `max_grad_norm`.
_KEYWORDS = {
    **dict.fromkeys((*_STEPS, "max_steps", "num_env_steps"), ("steps",)),
    **dict.fromkeys(("n_steps", "num_steps"), ("rollout_length", "n_step")),
    **dict.fromkeys(("horizon", "rollout_fragment_length"), ("rollout_length",)),
    **dict.fromkeys(("n_envs", "num_workers", "nenvs"), ("num_envs",)),
    **dict.fromkeys(("n_epochs", "noptepochs", "update_epochs"), ("num_epochs",)),
    **dict.fromkeys(("minibatch_size", "sgd_minibatch_size"), ("batch_size",)),
    **dict.fromkeys(("gae_lambda", "lam", "lmbda"), ("lambda_",)),
    **dict.fromkeys(("discount", "discount_factor"), ("gamma",)),
    **dict.fromkeys(("lr", "actor_lr", "pi_lr"), ("learning_rate",)),
    **dict.fromkeys(("critic_lr", "vf_lr"), ("critic_learning_rate",)),
    **dict.fromkeys(
        ("ent_coef", "entropy_regularization"), ("entropy_coefficient", "temperature")
    ),
    **dict.fromkeys(("entropy_coef", "entropy_coeff"), ("temperature",)),
    **dict.fromkeys(("vf_coef", "value_coef", "vf_loss_coeff"), ("value_coefficient",)),
    "grad_clip": ("max_gradient_norm",),
    **dict.fromkeys(("cliprange", "clip_param", "clip_coef"), ("clip_range",)),
    **dict.fromkeys(("clip_range_vf", "cliprange_vf"), ("value_clip",)),
    **dict.fromkeys(("normalize_advantage", "norm_adv"), ("normalize_advantages",)),
    **dict.fromkeys(("train_freq", "train_interval"), ("train_frequency",)),
    **dict.fromkeys(("memory_size", "replay_size", "memory_limit"), ("buffer_size",)),
    **dict.fromkeys(("memory", "replay_buffer"), ("buffer", "buffer_size")),
    **dict.fromkeys(
        ("nb_steps_warmup", "warmup_steps", "start_steps", "learning_start"),
        ("learning_starts",),
    ),
    **dict.fromkeys(
        ("target_model_update", "target_network_update_freq", "target_update_period",
         "target_update_freq"),
        ("target_update_interval",),
    ),
    "polyak": ("tau",),
    "exploration_initial_eps": ("initial_epsilon",),
    **dict.fromkeys(("exploration_final_eps", "epsilon_end"), ("final_epsilon",)),
    **dict.fromkeys(("exploration_fraction", "epsilon_decay"), ("epsilon_steps",)),
    **dict.fromkeys(("enable_double_dqn", "double_q", "double_dqn"), ("double",)),
    "enable_dueling_network": ("dueling",),
    **dict.fromkeys(
        ("policy_kwargs", "net_arch", "hidden_sizes", "fc_layer_params"), ("hidden",)
    ),
    "activation_fn": ("activation",),
    **dict.fromkeys(("policy", "model", "q_net"), ("network", "q_network", "hidden")),
    "callback": ("callbacks",),
    **dict.fromkeys(("eval_env", "eval_environment"), ("validation_env",)),
    **dict.fromkeys(
        ("n_eval_episodes", "nb_episodes", "n_episodes", "num_episodes"),
        ("episodes", "validation_episodes"),
    ),
    "deterministic": ("greedy",),
    **dict.fromkeys(("progress_bar", "visualize"), ("verbose",)),
}  # fmt: skip
_OBJECTS = "network", "q_network", "buffer", "steps", "callbacks"
_OF_FIT = "an argument of `fit`"
_ELSEWHERE = {  # what is said where it has another place
    **dict.fromkeys(
        (*_STEPS, "steps"), f"`steps`, {_OF_FIT}; in the shell `--steps`"
    ),
    **dict.fromkeys(("verbose", "progress_bar"), f"`verbose`, {_OF_FIT}"),
    **dict.fromkeys(("callback", "callbacks"), f"`callbacks`, {_OF_FIT}"),
    "tensorboard_log": "`fit(..., callbacks=[callbacks.TensorBoard(directory)])`",
    "device": "TensorFlow's to choose, `with tf.device(...)`",
    **dict.fromkeys(("algo", "algorithm"), "the first argument: `train ppo ENV`"),
    **dict.fromkeys(("env_id", "environment"), "the second argument"),
    "use_sde": "`distribution='gsde'`",
    **dict.fromkeys(
        ("eval_freq", "log_interval", "log_freq"), "`epochs` of `fit`: one report each"
    ),
}  # fmt: skip
_ALGORITHMS = {  # by name without case, hyphens and underscores
    **dict.fromkeys(("ddqn", "doubledqn"), "dqn --set double=true"),
    **dict.fromkeys(("duelingdqn", "duelingddqn"), "dqn --set dueling=true"),
    "d3qn": "dqn --set double=true --set dueling=true",
    **dict.fromkeys(("c51", "categoricaldqn"), "dqn --set distribution=categorical"),
    "qrdqn": "dqn --set distribution=quantile",
    "iqn": "dqn --set distribution=implicit_quantile",
    "noisydqn": "dqn --set noisy=true",
    "per": "dqn --set prioritized=true",
    **dict.fromkeys(("drqn", "r2d2"), "dqn --set recurrent=lstm"),
    "her": "dqn --set hindsight=future",
    **dict.fromkeys(("ppo1", "ppo2", "maskableppo"), "ppo"),
    **dict.fromkeys(("recurrentppo", "ppolstm"), "ppo --set recurrent=lstm"),
    **dict.fromkeys(("actorcritic", "ac"), "a2c"),
    **dict.fromkeys(("vpg", "pg", "policygradient"), "reinforce"),
    **dict.fromkeys(("sacd", "sacdiscrete"), "discrete_sac"),
    "rainbowdqn": "rainbow",
    **dict.fromkeys(("apexdqn", "apexdistributeddqn"), "apex"),
}
_COMMANDS = {
    **dict.fromkeys(("learn", "fit"), "train"),
    **dict.fromkeys(("enjoy", "play", "watch", "render", "video"), "record"),
    **dict.fromkeys(("test", "eval"), "evaluate"),
    "continue": "resume",
    "algorithms": "list algorithms",
}


def word_here(name, known):
    """The first of the words for a keyword of another library that is known, or None.

    Args:
        name: String.
        known: Collection of strings; None for any that `kerasrl2 train --set` takes.
    """
    words = _KEYWORDS.get(name, ())
    if known is None:
        return next((word for word in words if word not in _OBJECTS), None)
    return next((word for word in words if word in known), None)


def keyword_here(name, known):
    """What a keyword of another library is called; None if nobody knows.

    Args:
        name: String.
        known: Collection of strings, the keywords that may be given here.

    Returns:
        String, the end of a sentence about `name`.

    Example:
    >>> keyword_here("n_steps", ["rollout_length", "gamma"])
    "which is called 'rollout_length' here"
    """
    word = word_here(name, known)
    if word is not None:
        return f"which is called {word!r} here"
    return f"which is {_ELSEWHERE[name]}" if name in _ELSEWHERE else None


def algorithm_here(name, names):
    """The arguments of `kerasrl2 train` for an algorithm of another name, or None.

    Args:
        name: String.
        names: List of strings, of all algorithms.

    Example:
    >>> algorithm_here("PPO", ["dqn", "ppo"]), algorithm_here("DDQN", ["dqn", "ppo"])
    ('ppo', 'dqn --set double=true')
    """
    bare = _bare(name)
    own = next((known for known in names if _bare(known) == bare), None)
    return own or _ALGORITHMS.get(bare)


def command_here(name):
    """The command of another name, or None."""
    return _COMMANDS.get(name)


def with_our_words(method):
    """Decorator: an unknown keyword is a `TypeError` that names the one it is here."""
    parameters = inspect.signature(method).parameters
    known = [name for name in parameters if name != "self"]

    @functools.wraps(method)
    def called(*args, **kwargs):
        for name in kwargs:
            if name not in parameters:
                here = keyword_here(name, known)
                here = f"{name!r}, {here}." if here else f"{name!r}."
                raise TypeError(
                    f"Expected a keyword of `{method.__name__}`. Received: {here} It "
                    f"knows: {', '.join(known)}"
                )
        return method(*args, **kwargs)

    return called


def _bare(name):
    return str(name).lower().replace("-", "").replace("_", "")
