"""The keywords from which an agent class is made."""

import inspect

_NAMED = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


def keywords_of(agent_class):
    """Keywords of `agent_class.for_env` and of the constructor that it calls.

    A method with `**kwargs` also takes the keywords of the next class in the method
    resolution order. The default of a keyword is that of `for_env` rather than of the
    constructor, and of a subclass rather than of its base class.

    Args:
        agent_class: Subclass of `Agent`.

    Returns:
        Dictionary of names to `inspect.Parameter`, with evaluated annotations where
        possible.
    """
    names = set(agent_class.hyperparameters())  # a class may fix some of its base's
    keywords = _through(agent_class, "__init__").items()
    keywords = {name: keyword for name, keyword in keywords if name in names}
    return {**keywords, **_through(agent_class, "for_env")}


def _through(agent_class, method):
    """Keywords of a method and of those that it passes `**kwargs` on to."""
    keywords = {}
    for owner in agent_class.__mro__:
        if method not in vars(owner):
            continue
        function = vars(owner)[method]
        _, *parameters = _parameters(getattr(function, "__func__", function))
        for parameter in parameters:
            if parameter.kind in _NAMED:
                keywords.setdefault(parameter.name, parameter)
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            break
        if owner.__module__ == "kerasrl2.agents.agent":
            break  # the rest are Keras' own
    return keywords


def _parameters(function):
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, SyntaxError, TypeError):
        signature = inspect.signature(function)
    return signature.parameters.values()
