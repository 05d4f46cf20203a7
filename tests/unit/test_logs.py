from support import host_names, log_lines
from support.shipper.subjects import is_host


def test_host_names_are_different_and_may_be_hosts() -> None:
    names = host_names(2000)
    assert len(set(names)) == 2000
    assert all(map(is_host, names))
    assert host_names(3) == names[:3]


def test_lines_are_whole_end_in_their_number_and_are_the_same_each_time() -> None:
    lines = log_lines("web1.example.net", 100, first=7)
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in lines)
    assert [int(line.rpartition(b"#")[2]) for line in lines] == list(range(7, 107))
    assert lines == log_lines("web1.example.net", 100, first=7)
    assert lines != log_lines("web2.example.net", 100, first=7)
    assert all(b" web1.example.net " in line for line in lines)
    assert lines == sorted(lines), "time goes on"
