"""Training that ends where a return is reached."""


def first_to_reach(agent, env, steps, reached, judge, episodes=50, seed=1, parts=5):
    """Trains and evaluates in turn; the first return that is enough, or the last.

    Args:
        agent: Agent.
        env: Environment or what makes one, to train in.
        steps: Integer, env steps at most.
        reached: Number, the return that is enough.
        judge: Environment, its id or what makes one, to evaluate in.
        episodes: Integer, of each evaluation.
        seed: Integer, of the evaluations.
        parts: Integer, evaluations at most.
    """
    for _ in range(parts):
        agent.fit(env, steps=steps // parts, epochs=1, verbose=0)
        score = agent.evaluate(judge, episodes=episodes, seed=seed)["return"]
        if score >= reached:
            break
    return score
