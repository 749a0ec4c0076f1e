"""Files that appear whole or not at all."""

import pytest

from gnnpot.errors import DataError
from gnnpot.runs.files import replaced_file, write_text


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_appears_when_it_is_whole(tmp_path, durable):
    path = tmp_path / "state"
    path.write_bytes(b"old")
    with replaced_file(path, durable=durable) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stays_where_writing_fails(tmp_path):
    path = tmp_path / "state"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="full"), replaced_file(path) as file:
        file.write(b"half")
        raise OSError("full")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can't be written"):
        write_text(tmp_path / "file" / "below", "text")
