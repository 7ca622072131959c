"""What the command line says: lines of at most 80 columns."""

import textwrap

import typer

_WIDTH = 80


def say(text, indent="  "):
    """Prints text, broken between words; only a word that is longer overhangs.

    Args:
        text: String.
        indent: String, what further lines begin with.
    """
    lines = textwrap.wrap(
        text,
        _WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    typer.echo("\n".join(lines))
