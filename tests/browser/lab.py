"""Drive a private JupyterLab in headless Chromium, as a learner would with a mouse.

``LabServer`` starts JupyterLab on a copy of the notebooks, with none of the user's settings.
``LabPage`` opens a notebook in it, runs it, flips switches, and writes down everything that should
not happen: console errors, exceptions in the page, requests that leave the machine.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from playwright.sync_api import Browser, Locator, Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

__all__ = ["ARTIFACTS", "ROOT", "LabPage", "LabServer", "chromium", "find_chromium"]

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "test-artifacts"
HERE = {"127.0.0.1", "localhost"}
# Chromium's own errands (updates, variations, sync) would go out as well.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-extensions",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-domain-reliability",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
]

# The controls that stick out of their output to the right, by their classes.
CUT_OFF = """cell => [...cell.querySelectorAll('.jp-OutputArea .widget-button, .jp-OutputArea .widget-inline-hbox')]
    .filter(box => {
        const area = box.closest('.jp-OutputArea-output').getBoundingClientRect();
        const own = box.getBoundingClientRect();
        return own.width > 0 && own.right > area.right + 1;
    }).map(box => box.className)"""
# The command "run all cells" ends with the first cell that raises, while those below still wait,
# and the kernel is idle for a moment between two cells. Pictures and widgets are drawn later still.
# Below a cell that raises without saying so in its tags, no cell is run.
RAN = """() => {
    const cells = window.jupyterapp.shell.currentWidget.content.widgets
        .filter(cell => cell.model.type === 'code' && cell.model.sharedModel.getSource().trim())
        .map(cell => ({ cell, outputs: cell.model.outputs.toJSON() }));
    const drawn = ({ cell, outputs }, kind, css) =>
        cell.node.querySelectorAll('.jp-OutputArea-output ' + css).length
        >= outputs.filter(output => output.data?.[kind]).length;
    const stopped = ({ cell, outputs }) =>
        !cell.model.getMetadata('tags')?.includes('raises-exception')
        && outputs.some(output => output.output_type === 'error');
    return cells.some(stopped) || cells.every(each =>
        each.cell.model.executionCount !== null
        && each.cell.model.executionState !== 'running'
        && drawn(each, 'image/png', 'img')
        && drawn(each, 'application/vnd.jupyter.widget-view+json', '.jupyter-widgets'));
}"""
PICTURES = "cell => [...cell.querySelectorAll('.jp-OutputArea img')].map(i => i.src).join()"


def find_chromium() -> str | None:
    """Path of an installed Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), headless=True, args=QUIET
        )
        yield browser
        browser.close()


def wait_for(condition: Callable[[], object], seconds: float, what: str, every: float = 0.05):
    """What ``condition`` returns as soon as it is true; TimeoutError naming ``what`` if never."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(every)
    return result


class LabServer:
    """JupyterLab on a free port of this machine, serving ``folder``, with settings of its own.

    Args:
        folder: served as the root; whatever runs in it changes only this folder.
        home: an empty folder for configuration, settings, workspaces and run-time files.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        self.token = secrets.token_hex(16)
        self.log = home / "jupyter.log"
        settings = home / "settings"
        _write_settings(settings)
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("JUPYTER", "MPL", "IPY", "OMP_", "PYTEST"))
        }
        environment |= {
            "HOME": str(home),
            "IPYTHONDIR": str(home / "ipython"),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(settings),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")]),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",  # the browser needs a core too, and idle threads spin
        }
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *("--ip=127.0.0.1", "--ServerApp.port=0", f"--IdentityProvider.token={self.token}"),
            f"--ServerApp.root_dir={folder}",
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.news_url=None",
            "--LabApp.extension_manager=readonly",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=folder, stdout=log, stderr=log
            )
        try:
            self.url = self._address(home / "runtime")
        except BaseException:
            self.stop()
            raise

    def _address(self, runtime: Path) -> str:
        def read() -> str | None:
            if self.process.poll() is not None:
                raise RuntimeError("JupyterLab did not start:\n" + self.log.read_text()[-3000:])
            for path in runtime.glob("jpserver-*.json"):
                try:
                    return json.loads(path.read_text())["url"]
                except ValueError:  # half written
                    return None
            return None

        url = wait_for(read, 60, "JupyterLab to start")
        wait_for(lambda: self._answers(url), 30, "JupyterLab to answer")
        return url

    def _answers(self, url: str) -> bool:
        try:
            with urlopen(f"{url}api/status?token={self.token}", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop_kernels(self) -> None:
        """End every running kernel, so that one notebook does not slow the next."""
        headers = {"Authorization": f"token {self.token}"}
        with urlopen(Request(f"{self.url}api/sessions", headers=headers), timeout=30) as answer:
            sessions = json.load(answer)
        for session in sessions:
            address = f"{self.url}api/sessions/{session['id']}"
            urlopen(Request(address, headers=headers, method="DELETE"), timeout=30).close()

    def stop(self) -> None:
        """End the server and its kernels."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def _write_settings(folder: Path) -> None:
    """The settings that the course ships, and every cell attached to the page."""
    settings = json.loads((ROOT / "rlvr_lab/jupyter/overrides.json").read_text("utf-8"))
    settings["@jupyterlab/notebook-extension:tracker"] = {"windowingMode": "none"}
    settings["@jupyterlab/docmanager-extension:plugin"] = {"autosave": False}
    for plugin, values in settings.items():
        path = folder / (plugin.replace(":", "/") + ".jupyterlab-settings")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))


class LabPage:
    """One notebook, open in the browser.

    Attributes:
        page: the Playwright page.
        trouble: what should not have happened, one sentence each.
    """

    def __init__(self, browser: Browser, server: LabServer) -> None:
        self.server = server
        self.trouble: list[str] = []
        self.context = browser.new_context(viewport={"width": 1400, "height": 1000})
        self.context.route(lambda url: not _is_here(url), self._refuse)
        self.context.on("request", lambda request: self._judge(request.url))
        self.page: Page = self.context.new_page()
        self.page.on("websocket", lambda socket: self._judge(socket.url))
        self.page.on("console", self._read_console)
        self.page.on("pageerror", lambda error: self.trouble.append(f"exception in page: {error}"))

    def _judge(self, url: str) -> None:
        if not _is_here(url):
            self.trouble.append(f"request that leaves this machine: {url}")

    def _refuse(self, route) -> None:
        self._judge(route.request.url)
        route.abort()

    def _read_console(self, message) -> None:
        if message.type == "error":
            self.trouble.append(f"console error: {message.text} ({message.location.get('url')})")

    def close(self) -> None:
        """Close the page and end the kernels."""
        self.context.close()
        self.server.stop_kernels()

    # ------------------------------------------------------------------------------ the notebook

    def open_notebook(self, path: str) -> None:
        """Open ``path``, relative to the served folder, and wait until its kernel is idle.

        A command sent to a kernel before that is lost.
        """
        self.page.goto(f"{self.server.url}lab/tree/{path}?reset&token={self.server.token}")
        self._until(
            """path => {
                const panel = window.jupyterapp?.shell.currentWidget;
                return panel?.context?.path === path && panel.context.isReady
                    && panel.sessionContext.isReady
                    && panel.sessionContext.session?.kernel?.status === 'idle';
            }""",
            path,
            90,
            f"{path} to open with an idle kernel",
        )

    def run_all(self, seconds: float = 300) -> float:
        """Run all cells; returns the seconds until the last one had finished and was drawn."""
        start = time.monotonic()
        self.page.evaluate(
            """() => {
                window.ranAll = false;
                window.jupyterapp.commands.execute('notebook:run-all-cells')
                    .finally(() => { window.ranAll = true; });
            }"""
        )
        self._until("() => window.ranAll", None, seconds, "all cells to run")
        self._until(RAN, None, seconds, "every cell to end and to be drawn")
        self.wait_idle(seconds)
        return time.monotonic() - start

    def wait_idle(self, seconds: float = 60) -> None:
        """Wait until the kernel has nothing to do."""
        self._until(
            "() => window.jupyterapp.shell.currentWidget.sessionContext"
            ".session.kernel.status === 'idle'",
            None,
            seconds,
            "the kernel to be idle",
        )

    def outputs(self) -> list[list[dict]]:
        """The outputs of every code cell, as they would be saved."""
        return self.page.evaluate(
            """() => window.jupyterapp.shell.currentWidget.content.widgets
                .filter(cell => cell.model.type === 'code')
                .map(cell => cell.model.outputs.toJSON())"""
        )

    def errors(self) -> list[str]:
        """Every exception that a cell ended with."""
        return [
            f"cell {number}: {output['ename']}: {output['evalue']}"
            for number, cell in enumerate(self.outputs(), start=1)
            for output in cell
            if output["output_type"] == "error"
        ]

    def _until(self, expression: str, argument: object, seconds: float, what: str) -> None:
        limit = seconds * 1000
        try:
            self.page.wait_for_function(expression, arg=argument, timeout=limit, polling=20)
        except PlaywrightTimeout:
            picture = self.screenshot("gave_up")
            raise TimeoutError(
                f"waited {seconds:g} s in vain for {what}; see {picture}\n"
                + "\n".join(self.trouble)
            ) from None

    # ----------------------------------------------------------------------------- the controls

    def cell(self, css_class: str) -> Locator:
        """The first cell that shows a widget of this class."""
        return self.page.locator(".jp-Cell").filter(has=self.page.locator(f".{css_class}")).first

    def control(self, css_class: str, cell: Locator | None = None) -> Locator:
        """What to click on of the widget of this class: its check box, or all of it (a button)."""
        widget = (cell or self.page).locator(f".{css_class}").first
        box = widget.locator("input[type=checkbox]")
        return box if box.count() else widget

    def click(self, css_class: str, cell: Locator | None = None) -> None:
        """Click on the widget of this class."""
        control = self.control(css_class, cell)
        control.scroll_into_view_if_needed()
        control.click()

    def figure(self, cell: Locator) -> str:
        """What the pictures of ``cell`` show now, as one string that changes with them."""
        return cell.evaluate(f"cell => ({PICTURES})(cell)")

    def figure_changes(self, cell: Locator, since: str, seconds: float) -> float:
        """Wait until the pictures of ``cell`` are others than ``since``; returns the seconds."""
        start = time.monotonic()
        self._until(
            f"([cell, old]) => {{ const now = ({PICTURES})(cell); return now && now !== old; }}",
            [cell.element_handle(), since],
            seconds,
            "the figure to change",
        )
        return time.monotonic() - start

    def says(self, cell: Locator, pattern: str, seconds: float) -> float:
        """Wait until the text of ``cell`` matches ``pattern``; returns the seconds."""
        start = time.monotonic()
        self._until(
            "([cell, pattern]) => new RegExp(pattern, 'i').test(cell.innerText)",
            [cell.element_handle(), pattern],
            seconds,
            f"the words {pattern!r}",
        )
        return time.monotonic() - start

    def enabled(self, css_class: str, cell: Locator, seconds: float) -> float:
        """Wait until the button of this class can be pressed; returns the seconds."""
        start = time.monotonic()
        self._until(
            "([cell, css]) => cell.querySelector(css)?.disabled === false",
            [cell.element_handle(), f".{css_class}"],
            seconds,
            f"the button {css_class} to be ready",
        )
        return time.monotonic() - start

    def text(self, css_class: str, cell: Locator | None = None) -> str:
        """What the widget of this class says."""
        return (cell or self.page).locator(f".{css_class}").first.inner_text()

    def looks(self, name: str, cell: Locator) -> None:
        """Keep pictures of ``cell`` at two widths of the window, light and dark; then put both back.

        At neither width may the cell's controls be cut off.
        """
        ARTIFACTS.mkdir(exist_ok=True)
        size = self.page.viewport_size
        for theme in ("Dark", "Light"):
            self._command("apputils:change-theme", {"theme": f"JupyterLab {theme}"})
            for width in (size["width"], 900):
                self.page.set_viewport_size({**size, "width": width})
                self.page.wait_for_timeout(400)
                cell.scroll_into_view_if_needed()
                cell.screenshot(path=ARTIFACTS / f"{name}_{theme.lower()}_{width}.png")
                cut = cell.evaluate(CUT_OFF)
                assert cut == [], f"cut off at a width of {width}: {cut}"
        self.page.set_viewport_size(size)

    def _command(self, command: str, arguments: dict) -> None:
        self.page.evaluate(
            "([command, args]) => window.jupyterapp.commands.execute(command, args)",
            [command, arguments],
        )

    def screenshot(self, name: str) -> Path:
        """Keep what the page shows now as ``test-artifacts/<name>.png``."""
        ARTIFACTS.mkdir(exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        self.page.screenshot(path=path)
        return path


def _is_here(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in {"data", "blob", "about"} or parts.hostname in HERE
