"""HTML made from a notebook keeps what each picture says in words."""

import base64
import json
from html.parser import HTMLParser
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from traitlets.config import Config

from rlvr_lab.pictures.style import new_figure, show
from rlvr_lab.widgets.live_figures import Panel

CONFIG = Path(__file__).parents[2] / "rlvr_lab/jupyter/jupyter_config.json"


def html_of(alt: str) -> str:
    v4 = nbformat.v4
    image = show(new_figure()[0], alt)
    png = base64.b64encode(image.data).decode()
    output = v4.new_output("display_data", {"image/png": png, "text/plain": "<Image>"})
    output.metadata = nbformat.from_dict({"image/png": {"alt": alt}})
    page = v4.new_notebook(cells=[v4.new_code_cell("show()", outputs=[output])])
    config = Config(json.loads(CONFIG.read_text("utf-8")))
    return HTMLExporter(config=config).from_notebook_node(page)[0]


def test_an_exported_picture_keeps_its_description() -> None:
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "img":
                found.append(dict(attrs)["alt"])

    Reader().feed(html_of('Reward rises from .2 to .9; KL stays "small" <.1.'))
    assert found == ['Reward rises from .2 to .9; KL stays "small" <.1.']


def test_controls_are_stored_as_a_sentence() -> None:
    assert repr(Panel()) == "[Controls. They work while the notebook runs.]"
