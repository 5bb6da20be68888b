import io
import logging

from rich.table import Table

from mspn.cli.printing import SafeConsole, _LineFormatter, echo, escape_control_characters

HOSTILE = "\x1b]0;PWN\x07red\u202e.png\r\nx"
SHOWN = r"\x1b]0;PWN\x07red\u202e.png\r\nx"


def test_what_a_terminal_would_obey_is_shown():
    assert escape_control_characters(HOSTILE) == SHOWN
    assert escape_control_characters("é 人 🙂.png") == "é 人 🙂.png"


def test_a_line_stays_one_line(capsys):
    echo(f"skipped: {HOSTILE}", "next", err=True)

    assert capsys.readouterr().err == f"skipped: {SHOWN}\nnext\n"


def test_a_table_keeps_its_colors_and_shows_what_is_in_its_cells():
    output = io.StringIO()
    console = SafeConsole(file=output, force_terminal=True, width=80)
    table = Table("name")
    table.add_row("\x1b]0;PWN\x07", style="red")

    console.print(table)

    assert r"\x1b]0" in output.getvalue()
    assert "\x1b]0" not in output.getvalue()
    assert "\x1b[31m" in output.getvalue()


def test_a_log_line_stays_one_line_and_a_traceback_its_own():
    record = logging.LogRecord("mspn", logging.WARNING, "", 0, "%s: skipped", (HOSTILE,), None)

    assert _LineFormatter("%(message)s").format(record) == f"{SHOWN}: skipped"
