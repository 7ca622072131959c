"""What an agent class can be told by keyword."""

import inspect

_NAMED = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


def keywords_of(agent_class):
    """Keywords of `agent_class.for_env` and, what it passes on, of the constructor.

    A method that takes `**kwargs` passes on what the next class of the method
    resolution order takes. Where a keyword is named twice, the default is that of
    `for_env` before the constructor's, and of a subclass before its base's.

    Args:
        agent_class: Subclass of `Agent`.

    Returns:
        Dictionary of names to `inspect.Parameter`, with evaluated annotations where
        these can be.
    """
    taken = set(agent_class.hyperparameters())  # a class may fix some of its base's
    found = _through(agent_class, "__init__")
    found = {name: keyword for name, keyword in found.items() if name in taken}
    return {**found, **_through(agent_class, "for_env")}


def _through(agent_class, method):
    found = {}
    for owner in agent_class.__mro__:
        if method not in vars(owner):
            continue
        function = vars(owner)[method]
        _, *parameters = _parameters(getattr(function, "__func__", function))
        for parameter in parameters:
            if parameter.kind in _NAMED:
                found.setdefault(parameter.name, parameter)
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            break
        if owner.__module__ == "kerasrl2.agents.agent":
            break  # the rest are Keras' own
    return found


def _parameters(function):
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, SyntaxError, TypeError):
        signature = inspect.signature(function)
    return signature.parameters.values()
