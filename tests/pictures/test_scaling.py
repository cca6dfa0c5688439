"""The picture of memory shows the measurements and their lines."""

import numpy as np

from rlvr_lab.pictures.scaling import plot_memory

GIB = 2**30
RESULT = {
    "rows": [
        {"way": "whole", "tokens": 100, "growth": [1 * GIB, 2 * GIB]},
        {"way": "whole", "tokens": 300, "growth": [5 * GIB]},
        {"way": "logits", "tokens": 300, "growth": [3 * GIB]},
        {"way": "parts", "tokens": 100, "growth": [1 * GIB, 1 * GIB, 2 * GIB]},
        {"way": "parts", "tokens": 300, "growth": [2 * GIB]},
    ],
    "lines": {"whole": {"per_token": GIB / 50, "fixed": -GIB}},
}


def test_every_measurement_is_a_marker_and_every_line_ends_at_its_last_size() -> None:
    ax = plot_memory(RESULT)
    markers, line, alone, _, parts = ax.lines
    np.testing.assert_allclose(markers.get_xydata(), [[100, 1], [100, 2], [300, 5]])
    np.testing.assert_allclose(line.get_xydata(), [[0, -1], [300, 5]])
    np.testing.assert_allclose(alone.get_xydata(), [[300, 3]])
    np.testing.assert_allclose(parts.get_xydata(), [[100, 1], [300, 2]])
    assert [text.get_text() for text in ax.texts] == ["everything stored", "rows in parts too"]
    assert "GiB" in ax.get_ylabel() and "N·G·T" in ax.get_xlabel()
