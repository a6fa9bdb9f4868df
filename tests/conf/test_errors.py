"""Is every wrong setting refused by an error that names path, value and the likely word?"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from django_eventbus.conf import BusConfig, OutboxConfig, Severity, load, problems, redacted
from django_eventbus.conf.loading import SECTIONS, fields_of
from django_eventbus.exceptions import ConfigurationError

KAFKA = {"TRANSPORT": "kafka", "OPTIONS": {"bootstrap.servers": "kafka:9092"}}

# Each key of the reference page: a value that is refused, and what the error says about it.
REFUSED: dict[tuple[str, str], tuple[Any, str]] = {
    ("", "TRANSPORT"): ("kafk", "'kafk', but must be kafka, local, memory, or the path of a transport"),
    ("", "SERVICE"): ("My Shop", "'My Shop', but must be lower-case words joined by '-'"),
    ("", "DOMAIN"): ("e commerce", "'e commerce', but must be letters, digits and '-', a letter first or None"),
    ("", "ENVIRONMENT"): ("a.b", "'a.b', but must be letters, digits, '-' and '_'"),
    ("", "SOURCE"): ("", "'', but must be a text that is not empty"),
    ("", "GROUP"): (7, "7, but must be a text that is not empty"),
    ("", "DATABASE"): ("oter", "'oter', which is not in DATABASES. Did you mean 'other'?"),
    ("", "REQUIRE_ATOMIC"): ("yes", "'yes', but must be True or False"),
    ("", "PARTITION_KEY_FIELDS"): ("tenant_id", "'tenant_id', but must be a list, each item a text"),
    ("", "ESCAPE_KEYS"): (1, "1, but must be True or False"),
    ("", "CREATE_TOPICS"): (None, "None, but must be True or False"),
    ("", "NAMER"): ("namer", "'namer', but must be a dotted path to code"),
    ("", "CONTENT_MODE"): ("binry", "must be one of 'binary', 'structured'. Did you mean 'binary'?"),
    ("", "OPTIONS"): ("sasl.password=hunter2", "a str, but must be a dict with text keys"),
    ("", "PRODUCER_OPTIONS"): ({1: "x"}, "a dict, but must be a dict with text keys"),
    ("", "CONSUMER_OPTIONS"): ([], "a list, but must be a dict with text keys"),
    ("", "MIDDLEWARE"): (["shop.middleware.log"], "is not empty, but this version runs no middleware"),
    ("OUTBOX", "BATCH_SIZE"): (0, "0, but must be a whole number from 1 to 10000"),
    ("OUTBOX", "RELAYS"): (65, "65, but must be a whole number from 1 to 64"),
    ("OUTBOX", "WAKE_WITH"): ("notifi", "'notifi', but must be one of 'notify', 'thread', 'poll', 'celery' or None"),
    ("OUTBOX", "RETENTION"): (0, "0, but must be a duration above zero (a timedelta, or seconds) or None"),
    ("OUTBOX", "MAX_EVENT_BYTES"): ("900000", "'900000', but must be a whole number, 1 or more"),
    ("OUTBOX", "LISTEN_DATABASE"): ("direct", "'direct', which is not in DATABASES. Known: default"),
    ("OUTBOX", "GRACE"): (True, "True, but must be a duration above zero"),
    ("OUTBOX", "SEND_DEADLINE"): (30, "is 30 s, but GRACE is 30 s. Make it shorter than GRACE"),
    ("OUTBOX", "ON_DEAD_LETTER"): (
        "hold",
        "'hold', but must be one of 'continue', 'hold_key'. Did you mean 'hold_key'?",
    ),
    ("CONSUMER", "CONCURRENCY"): (-1, "-1, but must be a whole number from 1 to 1000"),
    ("CONSUMER", "BATCH_SIZE"): (65, "65, but must be a whole number from 1 to 64"),
    ("CONSUMER", "MAX_IN_FLIGHT"): (49, "is 49, less than one batch (50)"),
    ("CONSUMER", "SHUTDOWN_TIMEOUT"): (float("nan"), "nan, but must be a duration above zero"),
    ("CONSUMER", "GRACE"): (timedelta(), "datetime.timedelta(0), but must be a duration above zero"),
    ("CONSUMER", "UNKNOWN_EVENT"): ("drop", "'drop', but must be one of 'skip', 'dead_letter'"),
    ("CONSUMER", "GROUP_PROTOCOL"): ("Consumer", "one of 'classic', 'consumer'. Did you mean 'consumer'?"),
    ("CONSUMER", "STATIC_MEMBERSHIP"): ("no", "'no', but must be True or False"),
    ("INBOX", "RETENTION"): (1e30, "1e+30, but must be a duration above zero"),
    ("RETRY", "MAX_ATTEMPTS"): (0, "0, but must be a whole number, 1 or more"),
    ("RETRY", "DELAYS"): ([1, -5], "[1] is -5, but must be a duration above zero"),
    ("RETRY", "JITTER"): (1.5, "1.5, but must be a number from 0 to 1"),
    ("DEAD_LETTER", "RETENTION"): ("90 days", "'90 days', but must be a duration above zero"),
    ("SAGA", "RETENTION"): (0, "0, but must be a duration above zero (a timedelta, or seconds) or None"),
    ("SAGA", "WARN_STATE_BYTES"): (65_537, "is 65537, more than MAX_STATE_BYTES (65536)"),
    ("SAGA", "MAX_STATE_BYTES"): (0, "0, but must be a whole number, 1 or more"),
}
KEYS = [("", key) for key in fields_of(BusConfig)] + [
    (section, key) for section, cls in SECTIONS.items() for key in fields_of(cls)
]


def bus_with(section: str, key: str, value: Any) -> dict[str, Any]:
    return {"default": {section: {key: value}} if section else {key: value}}


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_a_wrong_value_is_refused_with_its_path(section: str, key: str) -> None:
    value, says = REFUSED[section, key]
    path = "EVENTBUS['default']" + (f"[{section!r}]" if section else "") + f"[{key!r}]"

    with pytest.raises(ConfigurationError) as caught:
        load(bus_with(section, key, value))

    assert str(caught.value).startswith(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_a_misspelt_key_is_refused_with_the_likely_word(section: str, key: str) -> None:
    misspelt = key[:-1] + key[-1] * 2

    with pytest.raises(ConfigurationError) as caught:
        load(bus_with(section, misspelt, 1))

    assert f"[{misspelt!r}] is not a setting" in str(caught.value)
    assert f"Did you mean {key!r}?" in str(caught.value)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_must_be_a_dict(section: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"EVENTBUS\['default'\]\['{section}'\] is 5, but must be a dict"):
        load({"default": {section: 5}})


def test_a_misspelt_section_is_refused_with_the_likely_word() -> None:
    with pytest.raises(ConfigurationError, match=r"\['OUTBOKS'\] is not a setting .* Did you mean 'OUTBOX'\?"):
        load({"default": {"OUTBOKS": {"BATCH_SIZE": 5}}})


def test_a_key_at_the_wrong_level_is_sent_home() -> None:
    with pytest.raises(ConfigurationError, match=r"\['BATCH_SIZE'\] is not a setting .* in 'OUTBOX' or 'CONSUMER'\."):
        load({"default": {"BATCH_SIZE": 5}})


def test_a_key_that_resembles_nothing_is_refused_with_all_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"\['xyz'\] is not a setting .* Known here: RETENTION\."):
        load({"default": {"INBOX": {"xyz": 5}}})


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ([], r"EVENTBUS is \[\], but must be a dict of bus aliases"),
        ({"orders": {}}, r"EVENTBUS\['default'\] is missing\. publish\(\) uses it"),
        ({"TRANSPORT": "kafka"}, r"'TRANSPORT' is no alias; write EVENTBUS = \{'default': \{'TRANSPORT': \.\.\.\}\}"),
        ({"default": None}, r"EVENTBUS\['default'\] is None, but must be a dict with the settings of one bus"),
        ({"default": {}, 3: {}}, r"EVENTBUS\[3\] is 3, but must be a text as alias"),
    ],
)
def test_a_wrong_shape_is_refused(raw: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load(raw)


def test_kafka_without_an_address_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\['OPTIONS'\]\['bootstrap.servers'\] is missing"):
        load({"default": {"TRANSPORT": "kafka"}})


def test_kafka_with_a_misspelt_address_names_it() -> None:
    with pytest.raises(ConfigurationError, match=r"You wrote 'bootstrap_servers'; librdkafka names have dots"):
        load({"default": {"TRANSPORT": "kafka", "OPTIONS": {"bootstrap_servers": "kafka:9092"}}})


def test_kafka_may_have_one_address_for_each_client() -> None:
    address = {"bootstrap.servers": "kafka:9092"}

    assert load({"default": {"TRANSPORT": "kafka", "PRODUCER_OPTIONS": address, "CONSUMER_OPTIONS": address}})
    with pytest.raises(ConfigurationError, match=r"bootstrap.servers'\] is missing"):
        load({"default": {"TRANSPORT": "kafka", "PRODUCER_OPTIONS": address}})


def test_kafka_outside_debug_demands_service_and_environment_in_the_checks_only(settings: Any) -> None:
    settings.DEBUG = False

    found = problems({"default": KAFKA})

    assert load({"default": KAFKA})
    assert [problem.path for problem in found] == [
        "EVENTBUS['default']['SERVICE']",
        "EVENTBUS['default']['ENVIRONMENT']",
    ]
    assert {problem.severity for problem in found} == {Severity.DEPLOYMENT}
    assert problems({"default": {**KAFKA, "SERVICE": "orders", "ENVIRONMENT": "prod"}}) == []


def test_kafka_in_debug_demands_no_names(settings: Any) -> None:
    settings.DEBUG = True

    assert problems({"default": KAFKA}) == []


def test_all_problems_of_all_buses_are_listed_at_once() -> None:
    raw = {
        "default": {"OUTBOX": {"BATCHSIZE": 5, "RELAYS": 0}, "RETRY": {"DELAYS": ["soon"]}},
        "audit": {"TRANSPORT": "kafka"},
    }
    paths = [
        "EVENTBUS['default']['OUTBOX']['BATCHSIZE']",
        "EVENTBUS['default']['OUTBOX']['RELAYS']",
        "EVENTBUS['default']['RETRY']['DELAYS'][0]",
        "EVENTBUS['audit']['OPTIONS']['bootstrap.servers']",
    ]

    found = [problem for problem in problems(raw) if problem.severity is Severity.ERROR]
    with pytest.raises(ConfigurationError) as caught:
        load(raw)

    assert [problem.path for problem in found] == paths
    assert [line.split(" is ")[0] for line in str(caught.value).splitlines()] == paths


@pytest.mark.parametrize(
    "raw",
    [
        {"OPTIONS": "sasl.password=hunter2"},
        {"OPTIONS": ["hunter2"]},
        {"SASL_PASSWORD": "hunter2"},
        {"PASSWORD": {"sasl.password": "hunter2"}},
        {"OPTION": {"sasl.password": "hunter2"}},
        {"BROKER": "kafka://admin:hunter2@kafka:9092"},
        {"OUTBOX": {"ssl.key.pem": "hunter2"}},
        {"OUTBOX": "amqp://admin:hunter2@host"},
    ],
)
def test_an_error_shows_no_secret(raw: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({"default": raw})

    assert "hunter2" not in str(caught.value)


def test_a_config_shows_no_secret() -> None:
    secret = {"bootstrap.servers": "kafka:9092", "sasl.password": "hunter2"}
    raw = {"TRANSPORT": "kafka", "OPTIONS": secret, "PRODUCER_OPTIONS": secret, "CONSUMER_OPTIONS": secret}

    config = load({"default": raw})["default"]

    assert config.options["sasl.password"] == "hunter2"
    assert "hunter2" not in repr(config)


def test_options_are_shown_without_secrets() -> None:
    options = {
        "bootstrap.servers": "kafka:9092",
        "sasl.username": "orders",
        "sasl.password": "hunter2",
        "ssl.key.pem": "hunter2",
        "ssl.key.location": "/run/secrets/key.pem",
        "sasl.oauthbearer.client.secret": "hunter2",
        "sasl.oauthbearer.token.endpoint.url": "https://id:hunter2@example.com/token",
    }

    shown = redacted(options)

    assert "hunter2" not in repr(shown)
    assert shown["bootstrap.servers"] == "kafka:9092"
    assert shown["sasl.username"] == "orders"


def test_configs_cannot_be_changed() -> None:
    config = load(None)["default"]

    with pytest.raises(dataclasses.FrozenInstanceError):
        config.outbox.batch_size = 5  # type: ignore[misc]
    assert config.outbox == OutboxConfig()
