import json
from dataclasses import dataclass

import pytest

from sweeps import command_line, each_once, load_results, run_sweep


@dataclass(frozen=True)
class Square:
    """A point: a number."""

    number: int

    @property
    def name(self):
        return f"n{self.number}"


class Squares:
    """A bench: squares."""

    def __init__(self, work=None):
        self.measured = []

    def base(self):
        return {"square": 0}

    def measure(self, point, work):
        self.measured.append(point.number)
        return {"square": point.number**2}


SWEEPS = {"small": [Square(1), Square(2)], "large": [Square(2), Square(30), Square(40)]}


def test_points_of_the_same_name_count_once():
    assert [point.number for point in each_once(SWEEPS.values())] == [1, 2, 30, 40]


def test_what_has_a_file_is_not_measured_again(tmp_path):
    bench = Squares()
    run_sweep(SWEEPS["small"], bench, tmp_path, tmp_path / "work")
    (tmp_path / "n1.json").unlink()
    run_sweep(SWEEPS["small"], bench, tmp_path, tmp_path / "work")
    assert bench.measured == [1, 2, 1]
    assert load_results(tmp_path, "make") == {"base": {"square": 0}, "n1": {"square": 1}, "n2": {"square": 4}}


def test_missing_results_name_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no results; make them with: python -m squares"):
        load_results(tmp_path, "python -m squares")
    run_sweep(SWEEPS["small"], Squares(), tmp_path, tmp_path / "work")
    with pytest.raises(KeyError, match="n30.json is not among the results; make it with: python -m squares"):
        load_results(tmp_path, "python -m squares")["n30"]


@pytest.mark.parametrize(
    "only, expected", [(["--only", "large"], {"n2", "n30", "n40"}), ([], {"n1", "n2", "n30", "n40"})]
)
def test_parts_share_the_points_between_them(only, expected, tmp_path):
    for part, folder in (("1/2", "first"), ("2/2", "second")):
        command_line(
            "",
            SWEEPS,
            Squares,
            tmp_path,
            [*only, "--part", part, "--results", str(tmp_path / folder), "--work", str(tmp_path)],
        )
    first, second = ({path.stem for path in (tmp_path / folder).iterdir()} - {"base"} for folder in ("first", "second"))
    assert first | second == expected and not first & second
    assert json.loads((tmp_path / "first" / "base.json").read_text(encoding="utf-8")) == {"square": 0}


@pytest.mark.parametrize("part", ["0/2", "3/2", "half", "1"])
def test_a_part_that_makes_no_sense_is_named(part, tmp_path, capsys):
    with pytest.raises(SystemExit):
        command_line("", SWEEPS, Squares, tmp_path, ["--part", part])
    assert f"'{part}' is not of the form 1/2" in capsys.readouterr().err
