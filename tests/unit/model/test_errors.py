"""An error says what, where, what state things are in, and what to do next; parts that are empty are left out."""

from __future__ import annotations

from changeover.model.errors import ChangeoverError, Problem, fail


def test_a_problem_is_printed_in_three_lines() -> None:
    problem = Problem("max_surge is 0", "chain.yaml:7", "Nothing was changed.", "Set it to 1.")
    assert str(problem) == "chain.yaml:7: max_surge is 0\n  Nothing was changed.\n  Set it to 1."


def test_empty_parts_of_a_problem_are_left_out() -> None:
    assert str(Problem("no such tier")) == "no such tier"
    assert str(Problem("no such tier", next="There are: a, b.")) == "no such tier\n  There are: a, b."


def test_several_problems_are_printed_one_below_the_other() -> None:
    error = ChangeoverError(Problem("one"), Problem("two", "x"))
    assert str(error) == "one\nx: two"
    assert [problem.what for problem in error.problems] == ["one", "two"]


def test_an_error_means_that_the_job_could_not_be_done_unless_it_says_otherwise() -> None:
    assert fail("broken").exit_code == 2
    assert fail("rolled back", exit_code=1).exit_code == 1
