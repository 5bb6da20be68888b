from pathlib import Path

import pytest

from benchmarks.study import LINES, TABLES, Measured, Row, table_lines, write_numbers
from benchmarks.validation_sets import VALIDATION_SETS
from mspn.config.recipes import STUDY_RECIPES


def measured(*lspet: float) -> Measured:
    others = [0.5] * len(lspet)
    by_set = dict(zip(VALIDATION_SETS, (list(lspet), others, others), strict=True))
    return Measured(gmacs=0.0759, seeds=list(range(len(lspet))), by_set=by_set)


def test_every_row_of_the_tables_and_every_point_of_the_figure_is_a_recipe_and_none_is_left_out():
    named = {row.recipe for rows in TABLES.values() for row in rows} | {one for line in LINES.values() for one in line}

    assert named == set(STUDY_RECIPES)


def test_a_row_has_means_over_the_seeds_and_half_the_range():
    lines = table_lines([Row("MSPN, 2", "study-mspn-2", 74.5)], {"study-mspn-2": measured(0.1, 0.2, 0.4)})

    # (0.1 + 0.2 + 0.4) / 3 and (0.4 - 0.1) / 2; the means of the three sets are a third of 1.1, 1.2 and 1.4.
    assert lines[-1] == "| MSPN, 2 | 76 | 0.233 ± 0.150 | 0.500 ± 0.000 | 0.500 ± 0.000 | 0.411 ± 0.050 | 3 | 0.745 |"


def test_one_seed_has_no_spread_and_what_is_not_measured_no_row():
    rows = [Row("MSPN, 1", "study-mspn-1", 71.5), Row("MSPN, 2", "study-mspn-2", None)]

    lines = table_lines(rows, {"study-mspn-2": measured(0.1)})

    assert len(lines) == 3
    assert lines[-1].startswith("| MSPN, 2 | 76 | 0.100 | 0.500 |")
    assert lines[-1].endswith("| 1 |  |")


def test_numbers_are_one_line_a_network(tmp_path: Path):
    write_numbers(tmp_path / "numbers.csv", {"study-mspn-2": measured(0.1, 0.23456)})

    assert (tmp_path / "numbers.csv").read_text().splitlines() == [
        "recipe,seed,million_multiply_adds,lspet_val,studio_val,coco_sample",
        "study-mspn-2,0,75.9,0.1000,0.5000,0.5000",
        "study-mspn-2,1,75.9,0.2346,0.5000,0.5000",
    ]


@pytest.mark.parametrize("name", STUDY_RECIPES)
def test_every_recipe_of_the_study_goes_by_its_own_name(name: str):
    assert STUDY_RECIPES[name].name == name
