"""Results survive kills, and belong to one plan."""

import pytest

from gnnpot.errors import ConfigError, DataError
from gnnpot.runs.results_log import ResultsLog


def test_it_is_for_one_process_and_forgets_what_is_damaged(tmp_path):
    with ResultsLog(tmp_path / "j", {"a": 1}) as results:
        for k in (2, 0, 1):
            results.add(k, bytes([k]) * 10)
        with pytest.raises(DataError, match="another process"):
            ResultsLog(tmp_path / "j", {"a": 1})
        assert list(results.contents()) == [b"\0" * 10, b"\1" * 10, b"\2" * 10]
    data = (tmp_path / "j" / "journal").read_bytes()
    (tmp_path / "j" / "journal").write_bytes(data[:-1] + b"x")
    with ResultsLog(tmp_path / "j", {"a": 1}) as results:
        assert len(results) == 2 and 1 not in results


def test_another_plan_is_refused_where_there_are_results(tmp_path):
    with ResultsLog(tmp_path / "j", {"a": 1}):
        pass
    with ResultsLog(tmp_path / "j", {"a": {"b": 2, "c": 3}}) as results:
        results.add(0, b"done")
    with pytest.raises(ConfigError, match=r"\(a\.b: was 2, is now 4\).*--fresh"):
        ResultsLog(tmp_path / "j", {"a": {"b": 4, "c": 3}}, "labelling")
    with ResultsLog(tmp_path / "j", {"a": 4}, fresh=True) as results:
        assert len(results) == 0
