"""Create the tables, and on PostgreSQL the storage that the relay counts on."""

from __future__ import annotations

import uuid

import django.db.models.functions.datetime
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

POSTGRESQL = """
ALTER TABLE eventbus_outbox ALTER COLUMN id SET GENERATED ALWAYS;
ALTER TABLE eventbus_saga_state SET (fillfactor = 80);
ALTER TABLE eventbus_outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0);
ALTER TABLE eventbus_scheduled SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0);
DO $$
DECLARE target text;
BEGIN
    FOREACH target IN ARRAY ARRAY['eventbus_outbox', 'eventbus_outbox_parked', 'eventbus_scheduled', 'eventbus_sent',
                                  'eventbus_retry', 'eventbus_dead_letter'] LOOP
        EXECUTE format('ALTER TABLE %I ALTER COLUMN payload SET COMPRESSION lz4', target);
    END LOOP;
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value THEN
    RAISE NOTICE 'this server has no lz4: payloads are compressed with pglz';
END $$;
"""


SAGA_STATUS = [
    ("running", "running"),
    ("compensating", "compensating"),
    ("completed", "completed"),
    ("compensated", "compensated"),
]


def tune_postgresql(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRESQL, params=None)


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="InboxMessage",
            fields=[
                ("key", models.UUIDField(primary_key=True, serialize=False)),
                ("handler", models.TextField()),
                ("partition_id", models.IntegerField()),
                ("position", models.BigIntegerField()),
                ("received_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "verbose_name": "inbox message",
                "db_table": "eventbus_inbox",
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="OutboxMessage",
            fields=[
                ("event_id", models.UUIDField()),
                ("event_name", models.TextField()),
                ("bus", models.SmallIntegerField()),
                ("shard", models.SmallIntegerField()),
                ("topic", models.TextField()),
                ("key", models.BinaryField(null=True)),
                ("headers", models.TextField()),
                ("payload", models.BinaryField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
            ],
            options={
                "verbose_name": "outbox message",
                "db_table": "eventbus_outbox",
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="ParkedMessage",
            fields=[
                ("event_id", models.UUIDField()),
                ("event_name", models.TextField()),
                ("bus", models.SmallIntegerField()),
                ("shard", models.SmallIntegerField()),
                ("topic", models.TextField()),
                ("key", models.BinaryField(null=True)),
                ("headers", models.TextField()),
                ("payload", models.BinaryField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "lane_id", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("lane_id", models.BigIntegerField()),
                ("id", models.BigIntegerField()),
            ],
            options={
                "verbose_name": "parked message",
                "db_table": "eventbus_outbox_parked",
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="ScheduledMessage",
            fields=[
                ("event_id", models.UUIDField()),
                ("event_name", models.TextField()),
                ("bus", models.SmallIntegerField()),
                ("shard", models.SmallIntegerField()),
                ("topic", models.TextField()),
                ("key", models.BinaryField(null=True)),
                ("headers", models.TextField()),
                ("payload", models.BinaryField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("due_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "scheduled message",
                "db_table": "eventbus_scheduled",
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["bus", "due_at", "id"], name="eventbus_scheduled_due"),
                    models.Index(fields=["event_id"], name="eventbus_scheduled_event"),
                ],
            },
        ),
        migrations.CreateModel(
            name="SentMessage",
            fields=[
                ("event_id", models.UUIDField()),
                ("event_name", models.TextField()),
                ("bus", models.SmallIntegerField()),
                ("shard", models.SmallIntegerField()),
                ("topic", models.TextField()),
                ("key", models.BinaryField(null=True)),
                ("headers", models.TextField()),
                ("payload", models.BinaryField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("sent_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), db_index=True)),
            ],
            options={
                "verbose_name": "sent message",
                "db_table": "eventbus_sent",
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="ControlFlag",
            fields=[
                ("id", models.SmallAutoField(primary_key=True, serialize=False)),
                ("bus", models.TextField()),
                ("scope", models.TextField(choices=[("bus", "bus")])),
                ("target", models.TextField(blank=True, default="")),
            ],
            options={
                "verbose_name": "control flag",
                "db_table": "eventbus_control",
                "permissions": [("control_eventbus", "Can pause, resume, cancel and hasten what the event bus does")],
                "default_permissions": ("view",),
                "constraints": [
                    models.UniqueConstraint(fields=("bus", "scope", "target"), name="eventbus_control_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("direction", models.TextField(choices=[("in", "in"), ("out", "out")])),
                (
                    "status",
                    models.TextField(
                        choices=[
                            ("dead", "dead"),
                            ("replaying", "replaying"),
                            ("replayed", "replayed"),
                            ("discarded", "discarded"),
                        ],
                        default="dead",
                    ),
                ),
                (
                    "reason",
                    models.TextField(
                        choices=[
                            ("attempts_exhausted", "attempts exhausted"),
                            ("never_retried", "exception is never retried"),
                            ("rejected", "rejected by the handler"),
                            ("undecodable", "undecodable"),
                            ("unknown_event", "unknown event"),
                            ("process_died", "the process died on it"),
                            ("handler_retired", "handler retired"),
                            ("refused_by_broker", "refused by the broker"),
                        ]
                    ),
                ),
                ("bus", models.TextField()),
                ("group", models.TextField(blank=True, db_column="group_name", default="")),
                ("handler", models.TextField(blank=True, default="")),
                ("event_name", models.TextField(blank=True, default="")),
                ("event_version", models.TextField(blank=True, default="")),
                ("message_id", models.TextField(blank=True, default="")),
                ("source", models.TextField(blank=True, default="")),
                ("correlation_id", models.TextField(blank=True, default="")),
                ("tenant_id", models.TextField(blank=True, default="")),
                ("topic", models.TextField()),
                ("partition_id", models.IntegerField(null=True)),
                ("partition_number", models.IntegerField(null=True)),
                ("position", models.BigIntegerField(null=True)),
                ("lane", models.UUIDField(null=True)),
                ("inbox_key", models.UUIDField(null=True, unique=True)),
                ("key", models.BinaryField(null=True)),
                ("headers", models.BinaryField()),
                ("payload", models.BinaryField(null=True)),
                ("exception_type", models.TextField(blank=True, default="")),
                ("exception_message", models.TextField(blank=True, default="")),
                ("traceback", models.TextField(blank=True, default="")),
                ("attempts", models.IntegerField(default=0)),
                ("times_dead", models.IntegerField(default=1)),
                ("saga", models.TextField(blank=True, default="")),
                ("saga_key", models.TextField(blank=True, default="")),
                ("published_at", models.DateTimeField(null=True)),
                ("first_failed_at", models.DateTimeField(null=True)),
                ("failed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "verbose_name": "dead letter",
                "db_table": "eventbus_dead_letter",
                "permissions": [
                    ("replay_deadletter", "Can replay dead letters"),
                    ("discard_deadletter", "Can discard dead letters"),
                    ("edit_deadletter", "Can edit dead letters before a replay"),
                    ("view_payload", "Can see payloads of messages"),
                ],
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["status", "-id"], name="eventbus_dead_status"),
                    models.Index(fields=["handler", "-id"], name="eventbus_dead_handler"),
                    models.Index(fields=["event_name", "-id"], name="eventbus_dead_event"),
                    models.Index(fields=["exception_type", "-id"], name="eventbus_dead_exception"),
                    models.Index(fields=["message_id"], name="eventbus_dead_message"),
                    models.Index(
                        condition=models.Q(("saga", ""), _negated=True),
                        fields=["saga", "saga_key"],
                        name="eventbus_dead_saga",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="OperatorAction",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("command_id", models.UUIDField(default=uuid.uuid4)),
                (
                    "kind",
                    models.TextField(
                        choices=[
                            ("replay", "replay"),
                            ("discard", "discard"),
                            ("cancel", "cancel"),
                            ("deliver_now", "deliver now"),
                            ("pause", "pause"),
                            ("resume", "resume"),
                            ("run_now", "run now"),
                            ("complete", "complete"),
                            ("compensate", "compensate"),
                            ("fire_timeout", "fire timeout"),
                        ]
                    ),
                ),
                ("dead_letter_id", models.BigIntegerField(null=True)),
                ("target", models.TextField(blank=True, default="")),
                ("actor", models.TextField()),
                ("reason", models.TextField(blank=True, default="")),
                ("acted_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "verbose_name": "operator action",
                "db_table": "eventbus_operator_action",
                "default_permissions": ("view",),
                "indexes": [models.Index(fields=["dead_letter_id"], name="eventbus_action_dead_letter")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("command_id", "dead_letter_id"), name="eventbus_operator_action_once"
                    ),
                    models.UniqueConstraint(
                        condition=~models.Q(target=""),
                        fields=("target", "command_id"),
                        name="eventbus_action_target_once",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="OutboxLane",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("bus", models.SmallIntegerField()),
                ("shard", models.SmallIntegerField()),
                ("topic", models.TextField()),
                ("whole", models.BooleanField()),
                ("key", models.BinaryField()),
                ("reason", models.TextField()),
                ("attempts", models.IntegerField(default=0)),
                ("available_at", models.DateTimeField()),
                ("head_id", models.BigIntegerField(default=0)),
            ],
            options={
                "verbose_name": "outbox lane",
                "db_table": "eventbus_outbox_lane",
                "default_permissions": ("view",),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("bus", "shard", "topic", "whole", "key"), name="eventbus_outbox_lane_unique"
                    )
                ],
                "indexes": [
                    models.Index(fields=["bus", "available_at", "id"], name="eventbus_lane_due"),
                    models.Index(
                        condition=models.Q(("whole", True)), fields=["bus", "topic", "id"], name="eventbus_lane_whole"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PartitionEpoch",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("group", models.TextField(db_column="group_name")),
                ("topic", models.TextField()),
                ("number", models.IntegerField()),
                ("epoch", models.BigIntegerField(default=0)),
                ("owner", models.TextField(blank=True, default="")),
                ("is_clean", models.BooleanField(default=True)),
                ("low_water", models.BigIntegerField(null=True)),
                ("handlers", models.JSONField(default=list)),
                ("deaths", models.JSONField(default=dict)),
            ],
            options={
                "verbose_name": "partition",
                "db_table": "eventbus_partition",
                "default_permissions": ("view",),
                "constraints": [
                    models.UniqueConstraint(fields=("group", "topic", "number"), name="eventbus_partition_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="RecurringEvent",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("bus", models.TextField()),
                ("name", models.TextField()),
                ("schedule", models.TextField()),
                ("next_at", models.DateTimeField(null=True)),
                ("available_at", models.DateTimeField(null=True)),
                ("last_at", models.DateTimeField(null=True)),
                ("is_paused", models.BooleanField(default=False)),
                ("failures", models.IntegerField(default=0)),
                ("last_error", models.TextField(blank=True, default="")),
            ],
            options={
                "verbose_name": "recurring event",
                "db_table": "eventbus_recurring",
                "default_permissions": ("view",),
                "constraints": [models.UniqueConstraint(fields=("bus", "name"), name="eventbus_recurring_unique")],
            },
        ),
        migrations.CreateModel(
            name="RetryMessage",
            fields=[
                ("key", models.UUIDField(primary_key=True, serialize=False)),
                ("partition_id", models.IntegerField()),
                ("lane", models.UUIDField()),
                ("position", models.BigIntegerField()),
                ("handler", models.TextField()),
                ("topic", models.TextField()),
                ("message_id", models.TextField(blank=True, default="")),
                ("event_name", models.TextField(blank=True, default="")),
                ("record_key", models.BinaryField(null=True)),
                ("headers", models.BinaryField()),
                ("payload", models.BinaryField(null=True)),
                ("attempts", models.IntegerField(default=0)),
                ("sends", models.SmallIntegerField(db_default=0, default=0)),
                ("starts", models.SmallIntegerField(db_default=0, default=0)),
                ("available_at", models.DateTimeField(null=True)),
                (
                    "verdict",
                    models.TextField(
                        blank=True, choices=[("", "none"), ("replay", "replay"), ("discard", "discard")], default=""
                    ),
                ),
                ("dead_letter_id", models.BigIntegerField(null=True)),
                ("error_type", models.TextField(blank=True, default="")),
                ("error_message", models.TextField(blank=True, default="")),
                ("first_failed_at", models.DateTimeField(null=True)),
                ("received_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "verbose_name": "retry",
                "verbose_name_plural": "retries",
                "db_table": "eventbus_retry",
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["lane", "position"], name="eventbus_retry_lane"),
                    models.Index(
                        condition=models.Q(("available_at__isnull", False)),
                        fields=["partition_id", "available_at"],
                        name="eventbus_retry_due",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SagaState",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("saga", models.TextField()),
                ("key", models.TextField()),
                ("bus", models.TextField()),
                ("version", models.BigIntegerField()),
                ("status", models.TextField(choices=SAGA_STATUS)),
                ("state", models.TextField(null=True)),
                ("state_version", models.TextField()),
                ("timeouts", models.TextField(default="{}")),
                ("compensations", models.TextField(default="[]")),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("updated_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "saga",
                "db_table": "eventbus_saga_state",
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["status", "-id"], name="eventbus_saga_status"),
                    models.Index(fields=["saga", "-id"], name="eventbus_saga_name"),
                    models.Index(
                        condition=models.Q(("ended_at__isnull", True)), fields=["id"], name="eventbus_saga_open"
                    ),
                    models.Index(
                        condition=models.Q(("ended_at__isnull", False)),
                        fields=["ended_at"],
                        name="eventbus_saga_ended",
                    ),
                ],
                "constraints": [models.UniqueConstraint(fields=("key", "saga"), name="eventbus_saga_unique")],
            },
        ),
        migrations.CreateModel(
            name="SagaHistory",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "instance_id", "version", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("instance_id", models.BigIntegerField()),
                ("version", models.BigIntegerField()),
                ("message", models.TextField()),
                ("message_id", models.TextField(blank=True, default="")),
                ("source", models.TextField(blank=True, default="")),
                ("attempt", models.IntegerField(default=1)),
                ("outcome", models.TextField()),
                ("method", models.TextField(blank=True, default="")),
                ("status", models.TextField(choices=SAGA_STATUS)),
                ("state", models.TextField(null=True)),
                ("outgoing", models.TextField(default="[]")),
                ("timeouts", models.TextField(default="{}")),
                ("actor", models.TextField(blank=True, default="")),
                ("reason", models.TextField(blank=True, default="")),
                ("occurred_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "verbose_name": "saga step",
                "db_table": "eventbus_saga_history",
                "default_permissions": ("view",),
            },
        ),
        migrations.RunPython(tune_postgresql, migrations.RunPython.noop),
    ]
