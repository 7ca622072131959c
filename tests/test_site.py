"""What the site says of the code: pictures, tables and examples are those of today."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import kerasrl2 as krl
from docs.drawings import loop, rooms, speed
from docs.drawings.all import PICTURES, STATIC

DOCS = Path(__file__).parents[1] / "docs"
ROOMS = sorted(set(krl.__all__) - {"__version__", "load_agent"})
# Classes whose example would have to begin processes of Ray's; their modules' tests do.
WITHOUT_EXAMPLE = {"distributed.Pool", "populations.RemoteMember"}


def public_classes():
    """Dictionary of names such as `losses.Loss` to classes."""
    found = {}
    for room in ROOMS:
        module = importlib.import_module(f"kerasrl2.{room}")
        names = getattr(module, "__all__", None) or [
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__ and name[0] != "_"
        ]
        values = {f"{room}.{name}": getattr(module, name) for name in names}
        found |= {name: v for name, v in values.items() if inspect.isclass(v)}
    return found


def test_every_public_class_has_an_example():
    classes = public_classes()
    without = {n for n, cls in classes.items() if ">>>" not in (cls.__doc__ or "")}
    assert without - WITHOUT_EXAMPLE == set()
    assert without >= WITHOUT_EXAMPLE, "these have one, or are gone: take them out"


@pytest.mark.parametrize("room", ROOMS)
def test_the_index_of_the_reference_says_what_a_room_is(room):
    first = inspect.getdoc(importlib.import_module(f"kerasrl2.{room}")).split("\n\n")[0]
    row = f"| [{room}]({room}.md) | {' '.join(first.split())} |"
    assert row in (DOCS / "api" / "index.md").read_text(), f"put there: {row}"


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_drawn_from_the_present_code_and_data(name):
    assert (STATIC / name).read_text() == PICTURES[name](), "python -m docs.drawings"


def test_rooms_import_only_rooms_drawn_below():
    graph = rooms.imports()
    level = rooms.floors(graph)
    assert all(level[a] < level[b] for a, others in graph.items() for b in others)
    drawn = {place for row in rooms.arranged(graph)[0] for place in row}
    assert set(graph) <= drawn
    assert {"agents", "losses", "cli"} <= set(graph)


def test_arrows_that_follow_from_others_are_left_out():
    graph = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert rooms.direct(graph) == [("a", "b"), ("b", "c")]
    assert rooms.floors(graph) == {"a": 0, "b": 1, "c": 2}


def test_calls_stand_in_the_order_in_which_they_are_made():
    played = loop.calls("collect", "collect")
    assert played.index("agent.forward") < played.index("env.step")
    learned = loop.calls("off_policy", "_iterate")
    assert learned.index("agent.replayed") < learned.index("buffer.add_rollout")
    with pytest.raises(ValueError, match=r"Expected a function played in training/fit"):
        loop.calls("fit", "played")


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("28 100 to 33 300", 30_700.0),
        ("692, 593, 476", 593.0),
        ("225", 225.0),
        ("0.107 to 0.109", 0.108),
        ("", None),
    ],
)
def test_figures_are_read_from_cells(cell, number):
    assert speed.figure(cell) == pytest.approx(number)


def test_notebooks_need_no_widgets_and_no_network():
    for notebook in (DOCS / "notebooks").glob("*.md"):
        cells = re.findall(
            r"```\{code-cell\} python\n(.*?)```", notebook.read_text(), re.S
        )
        assert cells or notebook.stem == "index"
        assert not re.search(r"ipywidgets|https?://|verbose=1", "".join(cells))


@pytest.mark.long
def test_the_table_of_the_first_page_is_that_of_the_algorithms():
    from docs.drawings.algorithms import table

    assert table() in (DOCS / "index.md").read_text(), table()


@pytest.mark.parametrize(
    "page", sorted((DOCS / "algorithms").glob("*.md")), ids=lambda page: page.stem
)
def test_pages_of_algorithms_explain_metrics(page):
    text = page.read_text()
    headings = " ".join(re.findall(r"^## (.+)$", text, re.M)).lower()
    refers = re.search(r"metrics[^.]*\bas in|metrics are those of", text, re.I)
    assert "metrics" in headings or refers
