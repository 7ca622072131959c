"""Training that ends where a return is reached."""


def first_to_reach(agent, env, steps, reached, parts=5, **evaluation):
    """Trains and evaluates in turn; the first return that is enough, or the last.

    Args:
        agent: Agent.
        env: Environment or its id, to train in.
        steps: Integer, env steps at most.
        reached: Number, the return that is enough.
        parts: Integer, evaluations at most.
        **evaluation: Keywords of `evaluate`, `env` for one.
    """
    for _ in range(parts):
        agent.fit(env, steps=steps // parts, epochs=1, verbose=0)
        score = agent.evaluate(**evaluation)["return"]
        if score >= reached:
            break
    return score
