"""How many gradient steps a model has taken."""


def gradient_steps(model):
    """Integer, of the first optimizer of an agent with several.

    Raises:
        ValueError: The model has no optimizer.
    """
    optimizer = getattr(model, "optimizer", None)
    if callable(getattr(model, "optimizers", None)):
        optimizer = next(iter(model.optimizers().values()))[0]
    if optimizer is None:
        raise ValueError(
            "Expected a model that counts gradient steps: call `compile` with an "
            f"optimizer. Received: {type(model).__name__} without one"
        )
    return int(optimizer.iterations)
