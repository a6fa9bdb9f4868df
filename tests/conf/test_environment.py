"""Can every setting come from the environment?"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from django_eventbus.conf import KAFKA_TRANSPORT, BusConfig, from_env, load
from django_eventbus.conf.loading import SECTIONS, fields_of
from django_eventbus.exceptions import ConfigurationError

TEXTS = {
    "TRANSPORT": "kafka",
    "SERVICE": "orders",
    "DOMAIN": "shop",
    "ENVIRONMENT": "Production",
    "SOURCE": "/shop/orders",
    "GROUP": "orders",
    "DATABASE": "default",
    "REQUIRE_ATOMIC": "false",
    "PARTITION_KEY_FIELDS": "tenant_id, order_id",
    "ESCAPE_KEYS": "no",
    "CREATE_TOPICS": "On",
    "NAMER": "shop.topics.name",
    "CONTENT_MODE": "structured",
    "MIDDLEWARE": ",",
    "OUTBOX_BATCH_SIZE": "500",
    "OUTBOX_RELAYS": "2",
    "OUTBOX_WAKE_WITH": "poll",
    "OUTBOX_RETENTION": "86400",
    "OUTBOX_MAX_EVENT_BYTES": "1000",
    "OUTBOX_LISTEN_DATABASE": "default",
    "OUTBOX_GRACE": "20.5",
    "OUTBOX_SEND_DEADLINE": "5",
    "OUTBOX_ON_DEAD_LETTER": "hold_key",
    "CONSUMER_CONCURRENCY": "8",
    "CONSUMER_BATCH_SIZE": "10",
    "CONSUMER_MAX_IN_FLIGHT": "100",
    "CONSUMER_SHUTDOWN_TIMEOUT": "10",
    "CONSUMER_GRACE": "10",
    "CONSUMER_UNKNOWN_EVENT": "dead_letter",
    "CONSUMER_GROUP_PROTOCOL": "consumer",
    "CONSUMER_STATIC_MEMBERSHIP": "1",
    "INBOX_RETENTION": "86400",
    "RETRY_MAX_ATTEMPTS": "3",
    "RETRY_DELAYS": "1,2.5,10",
    "RETRY_JITTER": "0.1",
    "DEAD_LETTER_RETENTION": "none",
    "SAGA_RETENTION": "86400",
    "SAGA_WARN_STATE_BYTES": "1000",
    "SAGA_MAX_STATE_BYTES": "2000",
    "OPTIONS_BOOTSTRAP_SERVERS": "kafka:9092",
    "PRODUCER_OPTIONS_COMPRESSION_TYPE": "zstd",
    "CONSUMER_OPTIONS_AUTO_OFFSET_RESET": "earliest",
}
IN_PYTHON: dict[str, Any] = {
    "environment": "prod",
    "transport": KAFKA_TRANSPORT,
    "require_atomic": False,
    "escape_keys": False,
    "create_topics": True,
    "partition_key_fields": ("tenant_id", "order_id"),
    "middleware": (),
    "options": {"bootstrap.servers": "kafka:9092"},
    "producer_options": {"compression.type": "zstd"},
    "consumer_options": {"auto.offset.reset": "earliest"},
    "static_membership": True,
    "delays": (timedelta(seconds=1), timedelta(seconds=2.5), timedelta(seconds=10)),
    "jitter": 0.1,
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("EVENTBUS"):
            monkeypatch.delenv(name)


def test_every_key_has_an_environment_form(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in TEXTS.items():
        monkeypatch.setenv(f"EVENTBUS_{name}", text)

    config = load(from_env())["default"]

    for section, value in (("", config), *((name, getattr(config, name.lower())) for name in SECTIONS)):
        for key in fields_of(SECTIONS.get(section, BusConfig)):
            text = TEXTS.get("_".join(filter(None, (section, key))), "")
            got = getattr(value, key.lower())
            if key.lower() in IN_PYTHON:
                assert got == IN_PYTHON[key.lower()], key
            elif isinstance(got, timedelta):
                assert got == timedelta(seconds=float(text)), key
            else:
                assert str(got).lower() == text.lower(), key


def test_no_environment_is_no_settings() -> None:
    assert from_env() == {"default": {}}


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTBUS_DOMAIN", "")
    monkeypatch.setenv("EVENTBUS_OUTBOX_RELAYS", " ")

    assert load(from_env())["default"].outbox.relays == 1


def test_another_prefix_makes_another_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_BUS_SERVICE", "audit")

    assert from_env("AUDIT_BUS") == {"default": {"SERVICE": "audit"}}
    assert from_env() == {"default": {}}


def test_a_password_is_taken_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTBUS_OPTIONS_SASL_PASSWORD", "$ecret=, 1")

    assert from_env()["default"]["OPTIONS"] == {"sasl.password": "$ecret=, 1"}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("EVENTBUS_OUTBOX_BATCH_SIZE", "many", "'many', but must be a whole number from 1 to 10000"),
        ("EVENTBUS_OUTBOX_GRACE", "30s", "'30s', but must be a duration above zero"),
        ("EVENTBUS_REQUIRE_ATOMIC", "maybe", "'maybe', but must be True or False"),
        ("EVENTBUS_RETRY_DELAYS", "1,soon", "'1,soon', but must be a list, each item a duration"),
    ],
)
def test_a_wrong_text_is_refused_with_the_name_of_the_variable(
    name: str, text: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)

    with pytest.raises(ConfigurationError) as caught:
        from_env()

    assert str(caught.value).startswith(f"The environment variable {name} is {says}")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("EVENTBUS_TRANSPROT", "EVENTBUS_TRANSPORT"),
        ("EVENTBUS_OUTBOX_BATCHSIZE", "EVENTBUS_OUTBOX_BATCH_SIZE"),
        ("EVENTBUS_OUTBOX_DELAY_OF_RELAYS", "EVENTBUS_OUTBOX_RELAYS"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_likely_word(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "x")

    with pytest.raises(ConfigurationError, match=f"{name} is not a setting .* Did you mean {meant}"):
        from_env()


@pytest.mark.parametrize(
    "name",
    [
        "EVENTBUS_PORT",
        "EVENTBUS_SERVICE_HOST",
        "EVENTBUS_SERVICE_PORT",
        "EVENTBUS_TEST_REQUIRE",
        "EVENTBUS_PORT_80_TCP",
    ],
)
def test_variables_of_other_programs_are_left_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"EVENTBUS_{name}", "tcp://10.0.0.1:80")

    assert from_env() == {"default": {}}


def test_without_django_environ_the_error_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['environ'] = None\n"
        "from django_eventbus.conf import from_env\n"
        "try: from_env()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("ConfigurationError django_eventbus.conf.from_env() needs django-environ.")
    assert "pip install 'django-eventbus[env]'" in done.stdout


def test_the_reference_list_of_this_test_is_complete() -> None:
    names = [key for key in fields_of(BusConfig) if "OPTIONS" not in key]
    names += [f"{section}_{key}" for section, cls in SECTIONS.items() for key in fields_of(cls)]

    assert set(names) == {name for name in TEXTS if "OPTIONS" not in name}
