"""The buttons of a dashboard: what they say, and what their tooltips say."""

import ipywidgets as W

__all__ = ["push_buttons", "switches"]

BUTTONS = {
    "run": (
        "Run",
        "play",
        "success",
        "Start a run with these settings. The run before stays, faint.",
    ),
    "stop": ("Stop", "stop", "", "End the run after the step it is in. The curves stay."),
    "reset": ("Reset", "undo", "", "Forget all runs and put every control back."),
}
COMPARE = "Show earlier runs as faint lines, with their settings in the legend above the curves."
INSPECT = (
    "One step from inside: the answers of a group, and what each token adds to the gradient, under this loss or "
    "another one."
)


def push_buttons() -> dict[str, W.Button]:
    """Run, Stop and Reset."""
    made = {}
    for name, (text, icon, style, tooltip) in BUTTONS.items():
        look = {"icon": icon, "button_style": style, "tooltip": tooltip}
        made[name] = W.Button(description=text, **look, layout=W.Layout(width="84px"))
    return made


def switches() -> tuple[W.ToggleButton, W.ToggleButton]:
    """Compare, which is on, and Look inside, which is off."""
    look = {"icon": "clone", "tooltip": COMPARE, "layout": W.Layout(width="104px")}
    compare = W.ToggleButton(value=True, description="Compare", **look)
    look = {"icon": "search", "tooltip": INSPECT, "layout": W.Layout(width="124px")}
    return compare, W.ToggleButton(description="Look inside", **look)
