"""Each wrong or missing variable is named, in one line, before anything is done."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from support.shipper.settings import ConsumerSettings, ProducerSettings, SettingError, load, numbers

PRODUCER = {"NATS_URL": "nats://127.0.0.1:4222", "SHIPPER_SUBJECT": "logs", "SHIPPER_FILE": "app.log"}
CONSUMER = {"NATS_URL": "nats://127.0.0.1:4222", "SHIPPER_SUBJECT": "logs", "SHIPPER_DIRECTORY": "out"}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NATS_URL", "NATS_CREDS", "HOSTNAME", "SHIPPER_STREAM", "SHIPPER_STATE"):
        monkeypatch.delenv(name, raising=False)


def given_environment(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("missing", ["NATS_URL", "SHIPPER_SUBJECT", "SHIPPER_FILE"])
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    given_environment(monkeypatch, PRODUCER | {missing: ""})
    with pytest.raises(SettingError, match=f"^{missing} is missing: set it to .*for example"):
        load(ProducerSettings)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("NATS_URL", "http://somewhere", "write nats://host:4222"),
        ("NATS_URL", "nats://a:99999", "99999 is no port"),
        ("SHIPPER_FILE", "/", "no regular file"),
        ("SHIPPER_FILE", "x" * 5000, "name too long"),
        ("NATS_CREDS", "/no/such/file", "does not point to a file"),
        ("NATS_KEY", __file__, "belong together"),
        ("SHIPPER_SUBJECT", "logs.>", "without wildcards"),
        ("SHIPPER_STREAM", "a.b", "no stream's name"),
        ("SHIPPER_PARTITIONS", "many", "'many'"),
        ("SHIPPER_PARTITIONS", "-1", "greater than or equal to 0"),
        ("SHIPPER_BATCH", "1k", "'1k'"),
        ("HOSTNAME", "../../etc", "no host name"),
        ("HOSTNAME", "a..b", "no host name"),
    ],
)
def test_what_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    given_environment(monkeypatch, PRODUCER | {name: value})
    with pytest.raises(SettingError) as caught:
        load(ProducerSettings)
    assert name in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SHIPPER_READ_PARTITIONS", "1,x", "no list of partitions"),
        ("SHIPPER_READ_PARTITIONS", "4-0", "write 0-4"),
        ("SHIPPER_OUTPUT", "../log", "names no file"),
        ("SHIPPER_OUTPUT", "%D", "names no file"),
        ("SHIPPER_KEEP", "0", "greater than or equal to 1"),
        ("SHIPPER_STREAM_TARGET", "out.logs", "SHIPPER_STREAM"),
    ],
)
def test_what_is_wrong_for_a_consumer_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    given_environment(monkeypatch, CONSUMER | {name: value})
    with pytest.raises(SettingError) as caught:
        load(ConsumerSettings)
    assert name in str(caught.value)
    assert said in str(caught.value)


def test_the_names_and_defaults_of_the_series(monkeypatch: pytest.MonkeyPatch) -> None:
    given_environment(
        monkeypatch, {**CONSUMER, "NATS_URL": "nats://a:1, tls://b:2", "SHIPPER_OUTPUT": "messages"}
    )
    consumer = load(ConsumerSettings)
    assert consumer.servers == ("nats://a:1", "tls://b:2")
    assert consumer.partitions == (0,)
    assert consumer.output == "messages-%Y%m%d%H%M"
    assert consumer.keep == 7
    assert consumer.state == Path("out/.shipper")
    given_environment(monkeypatch, PRODUCER)
    producer = load(ProducerSettings)
    assert producer.partitions == 0
    assert producer.batch == 512 * 1024
    assert producer.state.name == "nats-log-shipper"


@pytest.mark.parametrize(
    ("text", "found"), [("0", {0}), ("0,1,2", {0, 1, 2}), ("0-4", {0, 1, 2, 3, 4}), ("7, 1-2,2", {1, 2, 7})]
)
def test_lists_of_partitions(text: str, found: set[int]) -> None:
    assert numbers(text) == found


@given(st.text(max_size=8))
def test_any_other_text_is_refused_and_never_crashes(text: str) -> None:
    with suppress(ValueError):
        assert all(number >= 0 for number in numbers(text))


def test_a_command_says_it_in_one_line_and_exits_with_2(world: World) -> None:
    result = world.run("producer", host="web1", SHIPPER_SUBJECT="")
    assert result.returncode == 2
    assert (
        result.stderr
        == "SHIPPER_SUBJECT is missing: set it to the prefix of all subjects, for example logs\n"
    )
    assert world.run("consumer", SHIPPER_DIRECTORY="").returncode == 2
    assert world.run("setup", SHIPPER_STREAM="").returncode == 2


def test_a_system_whose_name_is_no_host_name_is_told_to_choose_one(monkeypatch: pytest.MonkeyPatch) -> None:
    given_environment(monkeypatch, PRODUCER)
    monkeypatch.setattr("socket.gethostname", lambda: "my_host")
    with pytest.raises(SettingError, match="HOSTNAME: 'my_host' is no host name"):
        load(ProducerSettings)
