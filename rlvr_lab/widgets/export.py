"""A notebook exported to HTML keeps the descriptions of its pictures.

The templates of nbconvert drop the alt text that ``pictures.style.show`` stores with each picture.
``jupyter/jupyter_config.json`` registers the preprocessor below for every HTML export, on the command
line and from JupyterLab's menu.
"""

import html
from typing import Any

from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode

__all__ = ["DescribePictures"]


class DescribePictures(Preprocessor):
    """Turn each PNG that has an alt text into an ``<img>`` element with that text."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Replace the pictures among the outputs of ``cell``; everything else stays."""
        for output in cell.get("outputs", []):
            alt = output.get("metadata", {}).get("image/png", {}).get("alt")
            if alt and "image/png" in output.get("data", {}):
                png = "".join(output.data.pop("image/png").split())
                words = html.escape(alt)
                source = f"data:image/png;base64,{png}"
                output.data["text/html"] = f'<img alt="{words}" src="{source}">'
        return cell, resources
