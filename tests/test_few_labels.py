from pathlib import Path

from benchmarks.few_labels import Row, read_rows, table_lines


def test_the_table_has_a_line_for_each_set_and_start_that_was_measured(tmp_path: Path):
    (tmp_path / "rows.csv").write_text("animals,ours,20,0.5,0.3\nanimals,random,10,0.041,0\nanimals,ours,10,0.25,0.1\n")

    rows = read_rows(tmp_path)

    assert rows[0] == Row("animals", "ours", 20, 0.5, 0.3)
    assert table_lines(rows) == [
        "| set | start | 10 | 20 |",
        "|---|---|---|---|",
        "| animals | ours | 25.0, 10.0 | 50.0, 30.0 |",
        "| animals | random | 4.1, 0.0 |  |",
    ]


def test_without_rows_there_is_nothing_yet(tmp_path: Path):
    assert read_rows(tmp_path) == []
