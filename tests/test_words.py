"""Words of other libraries: every error names the one that is right here."""

import pytest

from kerasrl2 import _algorithms, _words, agents
from kerasrl2._checks import check_keywords
from kerasrl2.agents.keywords import keywords_of
from tests.cli.shell import console, fail


@pytest.fixture(scope="module")
def agent():
    return agents.A2C.for_env("CartPole-v1", hidden=(4,), seed=0)


@pytest.mark.parametrize(
    ("kind", "word", "here"),
    [
        ("PPO", "n_steps", "called 'rollout_length' here"),
        ("DQN", "n_steps", "called 'n_step' here"),
        ("PPO", "policy", "called 'network' here"),
        ("PPO", "ent_coef", "called 'entropy_coefficient' here"),
        ("SAC", "ent_coef", "called 'temperature' here"),
        ("PPO", "verbose", "`verbose`, an argument of `fit`"),
        ("PPO", "total_timesteps", "`steps`, an argument of `fit`"),
        ("DQN", "nb_steps_warmup", "called 'learning_starts' here"),
        ("PPO", "tensorboard_log", "callbacks.TensorBoard(directory)"),
    ],
)
def test_keywords_of_agents(kind, word, here):
    env = "Pendulum-v1" if kind == "SAC" else "CartPole-v1"
    with pytest.raises(ValueError, match=f"'{word}', which is ") as caught:
        getattr(agents, kind).for_env(env, **{word: 3})
    assert here in str(caught.value)


@pytest.mark.parametrize("word", ["total_timesteps", "num_timesteps", "nb_steps"])
def test_fit(word, agent):
    with pytest.raises(TypeError, match=f"'{word}', which is called 'steps' here. It"):
        agent.fit("CartPole-v1", **{word: 1000})


def test_methods(agent):
    with pytest.raises(TypeError, match="called 'episodes' here"):
        agent.evaluate("CartPole-v1", n_eval_episodes=3)
    with pytest.raises(TypeError, match="called 'greedy' here"):
        agent.predict([[0.0] * 4], deterministic=True)
    with pytest.raises(TypeError, match=r"Received: 'colour'. It knows: env, epi"):
        agent.evaluate("CartPole-v1", colour=3)


def test_learn_is_no_fit(agent):
    with pytest.raises(
        AttributeError, match=r"'learn_from' now. To train, use `agent.f"
    ):
        agent.learn(total_timesteps=10)


@pytest.mark.parametrize(
    ("name", "here"),
    [("SAC", "`sac`"), ("ddqn", "`dqn --set double=true`"), ("ppo2", "`ppo`"),
     ("QR-DQN", "`dqn --set distribution=quantile`"), ("Discrete-SAC", "`discrete_sac"),
     ("RecurrentPPO", "`ppo --set recurrent=lstm`")],
)  # fmt: skip
def test_algorithms(name, here):
    with pytest.raises(ValueError, match="Expected `algorithm` to be one of: ") as e:
        agents.algorithm(name)
    assert f"Received: '{name}', which is {here}" in str(e.value)
    assert here in fail("train", name, "CartPole-v1")
    assert here in fail("list", "settings", name)


@pytest.mark.long
def test_what_is_named_exists():
    """All that the tables name is an algorithm with this setting, or a keyword."""
    for text in _words._ALGORITHMS.values():
        name, *settings = text.split(" --set ")
        known = keywords_of(agents.algorithm(name))
        assert {setting.partition("=")[0] for setting in settings} <= {*known}, text
    known = set()
    for name in _algorithms.built_in():
        known |= {*keywords_of(agents.algorithm(name))}
    for method in (agents.Agent.fit, agents.Agent.evaluate, agents.Agent.predict):
        known |= {*method.__wrapped__.__code__.co_varnames}
    for words in _words._KEYWORDS.values():
        assert known.intersection(words) == {*words}
    assert not known & set(_words._KEYWORDS) - {"steps"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["learn", "ppo"], "No such command 'learn'. That is `kerasrl2 train` here. E"),
        (["enjoy", "runs"], "That is `kerasrl2 record` here"),
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
        (["train", "ppo", "A-v1", "--total-timesteps", "9"], "which is `--steps` here"),
        (["train", "ppo", "A-v1", "--nb-steps", "9"], "which is `--steps` here. Expec"),
        (["train", "ppo", "A-v1", "--n-steps", "9"], "`--set rollout_length=...` here"),
        (["train", "--algo", "ppo"], "--algo, which is the first argument"),
        (["evaluate", "a", "--n-eval-episodes", "9"], "which is `--episodes` here"),
        (["evaluate", "a", "--nonsense", "9"], "No such option: --nonsense"),
    ],
)
def test_commands_and_options(arguments, message):
    code, _, errors = console(*arguments)
    assert code == 2
    assert message in errors
    assert len(errors.splitlines()) == 1


def test_settings_in_the_shell():
    line = fail("train", "ppo", "CartPole-v1", "--set", "n_steps=8")
    assert "'n_steps', which is called 'rollout_length' here" in line


def test_a_renamed_keyword_comes_first():
    with pytest.raises(
        ValueError, match="'clip_ratio', which is called 'clip_range' n"
    ):
        check_keywords("f", ["clip_ratio"], ["clip_range"])
    assert _words.keyword_here("colour", ["color"]) is None
