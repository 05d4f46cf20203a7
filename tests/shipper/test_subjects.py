import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.shipper.subjects import fnv1a, host_of, is_host, partition, subject_of


@pytest.mark.parametrize(
    ("data", "value"),
    # The test vectors that the authors of FNV publish (test_fnv.c, 32 bits, FNV-1a).
    [
        (b"", 0x811C9DC5),
        (b"a", 0xE40C292C),
        (b"b", 0xE70C2DE5),
        (b"foobar", 0xBF9CF968),
        (b"\x00", 0x050C5D1F),
    ],
)
def test_the_hash_is_fnv_1a(data: bytes, value: int) -> None:
    assert fnv1a(data) == value


def test_the_partition_of_a_host() -> None:
    assert partition("web1.example.net", 5) == 0
    assert partition("web1.example.net", 0) == 0
    assert {partition(f"web{number}.example.net", 4) for number in range(100)} == {0, 1, 2, 3}


@given(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]{1,10}){0,3}", fullmatch=True),
    st.integers(0, 99),
)
def test_host_to_subject_and_back(host: str, number: int) -> None:
    assert host_of("my.logs", subject_of("my.logs", number, host)) == host


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../etc",
        "a/b",
        "-a",
        "a-",
        "a..b",
        ".a",
        "a.",
        "a_b",
        "a b",
        "é",
        "a\n",
        "a" * 64,
        "a." * 127 + "aa",
    ],
)
def test_what_is_no_host_name_never_becomes_a_path(name: str) -> None:
    assert not is_host(name)
    assert host_of("logs", f"logs.p0.{name}") is None


@given(st.text(max_size=30))
def test_no_name_leads_out_of_its_directory(name: str) -> None:
    if is_host(name):
        assert (
            "/" not in name and "\\" not in name and name not in ("", ".", "..") and not name.startswith(".")
        )


def test_other_subjects_have_no_host() -> None:
    assert host_of("logs", "logs.control") is None
    assert host_of("logs", "logsxp0.web1") is None
    assert host_of("logs", "logs.p.web1") is None
