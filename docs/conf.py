"""Sphinx configuration. Nothing is fetched from the network, nor by the pages."""

import importlib
import inspect
import re
import sys
from pathlib import Path

from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).parents[1]))

import kerasrl2

project = "kerasrl2"
copyright = "the kerasrl2 authors"
version = release = kerasrl2.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "results"]  # results are included by the pages
nitpicky = True

html_theme = "furo"
html_title = f"kerasrl2 {kerasrl2.__version__}"
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"
html_math_renderer = "mathml"
html_show_sourcelink = False
pygments_style = "default"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

nb_execution_mode = "force"  # what a page shows is what this code does
nb_execution_in_temp = True
nb_execution_timeout = 120  # seconds a cell
nb_execution_raise_on_error = True
nb_ipywidgets_js = {}  # would be fetched from the network
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"
default_role = "code"  # docstrings use Markdown's backticks
nitpick_ignore_regex = [("py:class", r"[A-Za-z ]+")]  # "Dictionary of floats"
smartquotes = False
strip_signature_backslash = True  # also makes Napoleon escape `lambda_`
maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_custom_sections = [("Call arguments", "params_style")]
add_module_names = False
python_display_short_literal_types = True

OF_EVERY_AGENT = (
    "fit", "evaluate", "act", "predict", "policy", "save", "load_weights", "export",
    "close",
)  # fmt: skip
ROOMS = sorted(set(kerasrl2.__all__) - {"__version__", "load_agent"})


def public_names(room):
    """`__all__` of a room, or what is defined in it without an underscore."""
    module = importlib.import_module(f"kerasrl2.{room}")
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
        and not name.startswith("_")
    ]


def setup(app):
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
    app.connect("autodoc-process-signature", _constructor_signature)
    app.connect("autodoc-process-docstring", _prepare, priority=400)  # < Napoleon
    app.connect("autodoc-process-docstring", _list_inherited, priority=600)
    app.connect("autodoc-skip-member", _skip_member)
    app.connect("env-check-consistency", _check_all_documented)


def _inline_math(translator, node):
    translator.body.append(tex2mathml(node.astext()))
    raise _skip_node()


def _block_math(translator, node):
    math = tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="math">{math}</div>')
    raise _skip_node()


def _skip_node():
    from docutils.nodes import SkipNode

    return SkipNode()


def _constructor_signature(app, what, name, obj, options, signature, annotation):
    """Shows `__init__`, where Keras' `__new__` hides it behind `*args`."""
    if what != "class" or "__init__" not in vars(obj):
        return None
    parameters = list(inspect.signature(obj.__init__).parameters.values())[1:]
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    return str(inspect.Signature(plain)), annotation


def _prepare(app, what, name, obj, options, lines):
    """Indents examples, as Napoleon wants them; mends `` `Env`s ``.

    A letter right after code is fine in Markdown; reStructuredText needs a gap.
    """
    prepared, in_example = [], False
    for line in lines:
        if re.fullmatch(r"[A-Z][\w ]+:", line):
            in_example = line in ("Example:", "Examples:")
        elif in_example and line:
            line = f"    {line}"
        if not in_example:
            line = re.sub(r"(?<=\w)`(?=[a-z])", r"`\\ ", line)
        prepared.append(line)
    lines[:] = prepared


def _list_inherited(app, what, name, obj, options, lines):
    """Says below an agent's docstring what it has of `Agent`, without repeating it."""
    base = kerasrl2.agents.Agent
    if what == "class" and issubclass(obj, base) and obj is not base:
        own = vars(obj)
        links = [
            f":py:obj:`{method} <kerasrl2.agents.Agent.{method}>`"
            for method in OF_EVERY_AGENT
            if method not in own
        ]
        agent = ":py:class:`~kerasrl2.agents.Agent`"
        lines += [f"Inherited from {agent}: {', '.join(links)}.", ""]


def _skip_member(app, what, name, obj, skip, options):
    """Leaves out what `NamedTuple` writes; the class docstring tells the fields."""
    return (getattr(obj, "__doc__", None) or "").startswith("Alias for field") or None


def _check_all_documented(app, env):
    documented = env.get_domain("py").objects
    for room in ROOMS:
        for name in public_names(room):
            if f"kerasrl2.{room}.{name}" not in documented:
                logging.getLogger(__name__).warning(
                    f"kerasrl2.{room}.{name} is public but in no page of docs/api"
                )
