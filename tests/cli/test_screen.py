"""What a person sees: plain here, as a terminal shows it in test_terminal"""

from artstore.screen import Column, Screen

COLUMNS = (Column("name"), Column("empty"), Column("size", right=True))


def test_a_table_is_aligned_and_drops_empty_columns(capsys):
    Screen().table(COLUMNS, [("a", "", "10 B"), ("long-name", "", "1 B")])
    assert capsys.readouterr().out == "NAME       SIZE\na          10 B\nlong-name   1 B\n"


def test_nothing_in_a_cell_breaks_its_line(capsys):
    Screen().table(COLUMNS, [("a\nb\x1b", "", "1")])
    assert capsys.readouterr().out.splitlines()[1].startswith("a\\nb\\x1b")


def test_fields_leave_out_what_is_empty(capsys):
    Screen().fields([("id", "12"), ("phase", ""), ("created", "now")])
    assert capsys.readouterr().out == "id       12\ncreated  now\n"


def test_a_line_is_never_cut(capsys):
    Screen().line("x" * 500, style="bold")
    assert capsys.readouterr().out == "x" * 500 + "\n"
