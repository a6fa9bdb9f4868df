"""Show events and sagas on this machine: SQLite, a broker, a relay, a consumer, failures and their mending."""

import json
import os
import secrets
import signal
import subprocess
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from demo.accounts import ATLANTIS, FORGETFUL, cause
from demo.management.commands.demo_shop import REPEATED
from demo.processes import Processes, free_port, is_taken, wait_for_port


class Command(BaseCommand):
    """Run the shop as the processes that it has in production, and print what became of every event."""

    help = "Place some hundred orders and fulfil them through outbox, broker and inbox. Ends in under a minute."
    requires_system_checks: list[str] = []  # the processes that it starts check themselves, with their own settings

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--orders", type=int, default=150)
        parser.add_argument("--serve", action="store_true", help="go on with the admin open, to replay the dead letter")
        parser.add_argument("--port", type=int, default=8000, help="port of the admin with --serve")

    def handle(self, *, orders: int, serve: bool, port: int, **options: Any) -> None:
        if orders < 2 * REPEATED:
            raise CommandError(f"The demo takes at least {2 * REPEATED} orders.")
        if serve and is_taken(port):
            raise CommandError(f"Port {port} is taken. Choose another for the admin: demo --serve --port 8001")
        for ending in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(ending, signal.default_int_handler)  # as Ctrl-C: nothing may be left running
        with tempfile.TemporaryDirectory(prefix="eventbus-demo-") as directory:
            broker_port = free_port()
            processes = Processes(environment(Path(directory), broker_port))
            try:
                self.show(processes, broker_port=broker_port, orders=orders, serve=serve, port=port)
            except KeyboardInterrupt:
                self.stdout.write("\nstopping")
            except (RuntimeError, subprocess.SubprocessError, TimeoutError) as error:
                raise CommandError(str(error)) from error
            finally:
                processes.stop_all()

    def show(self, processes: Processes, *, broker_port: int, orders: int, serve: bool, port: int) -> None:
        self.stdout.write(f"starting the embedded broker on 127.0.0.1:{broker_port}")
        processes.start("eventbus_broker", "--port", str(broker_port))
        self.stdout.write("creating the database (SQLite)")
        processes.run("migrate", "--verbosity", "0")
        wait_for_port(broker_port)
        self.stdout.write("starting manage.py drain_outbox and manage.py consume_events")
        relay = processes.start("drain_outbox", "--json", "--verbosity", "0")
        consumer = processes.start("consume_events", "--json", "--verbosity", "0")
        processes.start("demo_customers")
        self.stdout.write(f"""placing {orders} orders
  {FORGETFUL} does not pay: she is reminded, and then her order is undone
  one order comes from {ATLANTIS}, which has no tax rate: its invoice fails""")
        shop = self.follow(processes, "--orders", str(orders), *([] if serve else ["--mend"]))
        if serve:
            self.table(shop)
            self.serve(processes, letter=shop["dead_letters"][0]["id"], port=port)
        consumed = processes.stop(consumer)
        sent = processes.stop(relay)
        self.table(shop | {"sent": sent["sent"], "handled": consumed["handled"], "dropped": consumed["duplicates"]})

    def follow(self, processes: Processes, *options: str) -> dict[str, Any]:
        """Place the orders in a process of its own and pass its progress on; return its totals."""
        shop = processes.start("demo_shop", *options)
        totals: dict[str, Any] = {}
        assert shop.stdout is not None
        for line in shop.stdout:
            if line.startswith("{"):
                totals = json.loads(line)
            else:
                self.stdout.write(line.rstrip())
                processes.check()
        if shop.wait():
            raise RuntimeError("the shop could not settle; see its message above")
        processes.running.remove(shop)
        return totals

    def table(self, shop: dict[str, Any]) -> None:
        self.stdout.write("")
        for name, value in (
            ("orders placed", shop["orders"]),
            ("  fulfilled", shop["completed"]),
            ("  undone, since nobody paid", shop["compensated"]),
            ("events published", shop["published"] + REPEATED),
            ("  of them published twice, on purpose", REPEATED),
            ("records sent", shop.get("sent")),
            ("handler runs that succeeded", shop.get("handled")),
            ("duplicates dropped", shop.get("dropped")),
            ("timeouts that came", shop["timeouts"]),
            ("dead letters", len(shop["dead_letters"])),
        ):
            if value is not None:
                self.stdout.write(f"  {name:<38}{value:>8}")
        for letter in shop["dead_letters"]:
            self.stdout.write(f"    {cause(letter)}")
        self.stdout.write("")
        for story in shop["stories"]:
            self.stdout.write(f"  {story['order']}: {story['fate']}\n    {', '.join(story['steps'])}")

    def serve(self, processes: Processes, *, letter: int, port: int) -> None:
        password = secrets.token_urlsafe(8)
        processes.env |= {"DJANGO_SUPERUSER_PASSWORD": password, "SERVER_LOG_LEVEL": "WARNING"}
        user = ("--noinput", "--username", "demo", "--email", "demo@example.com", "--verbosity", "0")
        processes.run("createsuperuser", *user)
        processes.start("runserver", "--noreload", f"127.0.0.1:{port}", output=subprocess.DEVNULL)
        wait_for_port(port)
        site = f"http://127.0.0.1:{port}/admin"
        self.stdout.write(f"""
The admin is open: {site}/   user demo, password {password}
  1. The dead letter, and why: {site}/eventbus/deadletter/{letter}/change/
  2. The fix:                  {site}/billing/taxrate/add/ (country {ATLANTIS}, percent 10)
  3. Press Replay on the page of 1 and reload it.
  4. The customer pays, and the order goes its way: {site}/eventbus/sagastate/
Ctrl-C ends everything.""")
        while True:
            processes.check()
            time.sleep(0.5)


def environment(directory: Path, broker_port: int) -> dict[str, str]:
    """Return this process's environment, with a database and a broker of the demo's own."""
    return {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{directory / 'shop.sqlite3'}",
        "EVENTBUS_TRANSPORT": "kafka",
        "EVENTBUS_OPTIONS_BOOTSTRAP_SERVERS": f"127.0.0.1:{broker_port}",
        "PAYMENT_TIMEOUT": os.environ.get("PAYMENT_TIMEOUT", "6"),  # seconds; else days
        "PYTHONUNBUFFERED": "1",
    }
