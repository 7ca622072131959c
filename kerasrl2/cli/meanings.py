"""What settings mean, as the docstrings of agents say."""

import inspect
import re

_ENTRY = re.compile(r"    (\*{0,2}\w+(?:, \w+)*): ?(.*)")


def meanings(agent_class):
    """Dictionary of the names of settings to what they mean, in one paragraph.

    Those of `for_env` go before those of the class, a subclass before its bases.

    Args:
        agent_class: Subclass of `Agent`.

    Example:
    >>> from kerasrl2.agents import PPO
    >>> meanings(PPO)["gamma"]
    'Float in [0, 1], discount per env step.'
    """
    owners = [o for o in agent_class.__mro__ if not o.__module__.startswith("keras.")]
    makers = [vars(owner)["for_env"] for owner in owners if "for_env" in vars(owner)]
    texts = [getattr(maker, "__func__", maker).__doc__ for maker in makers]
    found = {}
    for text in (*texts, *(vars(owner).get("__doc__") for owner in owners)):
        for names, meaning in _entries(text or ""):
            for name in names:
                found.setdefault(name, meaning)
    return found


def _entries(docstring):
    """Yields names and their meaning from the section `Args:` of a docstring."""
    _, section, text = inspect.cleandoc(docstring).partition("\nArgs:\n")
    if not section:
        return
    names, lines = (), []
    for line in text.splitlines():
        entry = _ENTRY.fullmatch(line)
        if line and not line.startswith(" "):  # the next section
            break
        if entry is not None:
            if names:
                yield names, " ".join(" ".join(lines).split())
            names, lines = entry[1].split(", "), [entry[2]]
        else:
            lines.append(line)
    if names:
        yield names, " ".join(" ".join(lines).split())
