"""The first cell of the course."""

from rlvr_lab.machine import setup as setup_check


def test_all_is_well_here(capsys):
    setup_check.check_setup()
    assert capsys.readouterr().out.endswith("Ready.\n")


def test_what_is_wrong_comes_with_what_to_do(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(setup_check.NEEDED, "torch", (99, 0))
    monkeypatch.setitem(setup_check.NEEDED, "no-such-package", (1, 0))
    monkeypatch.setenv("RLVR_LAB_DATA", str(tmp_path))
    setup_check.check_setup()
    out = capsys.readouterr().out
    assert "✗ torch" in out and "make lab" in out
    assert "✗ no-such-package is not installed" in out
    assert "✗ base models missing" in out
    assert "Ready" not in out
