"""How do the runs of a unit go through their handlers: one by one, as a list, outside of its transaction, or async?"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from asgiref.sync import sync_to_async

from django_eventbus.conf import BusConfig
from django_eventbus.delivery import running

from .connections import refresh_connections
from .run import Run
from .trouble import Clash, CommitRefused, Interrupted, Outage, TransactionEnded, Trouble, diagnose_outside, is_full
from .unit import Ledger, Unit


def run_each(ledger: Ledger, *, using: str, config: BusConfig) -> None:
    """Run a unit's deliveries one after the other in one transaction."""
    last: Run | None = None
    try:
        with Unit(ledger, using=using) as unit:
            for run in unit.due():
                last = run
                try:
                    running.run(run.delivery, config)
                    unit.succeed([run])
                # The boundary of a run: whatever a handler raises is its own failure, and undone alone.
                except Exception as exc:  # noqa: BLE001
                    _fail(unit, run, exc)
    except (Clash, CommitRefused) as exc:
        exc.run = exc.run or last
        raise


def run_list(ledger: Ledger, *, using: str, config: BusConfig) -> None:
    """Run a batch handler once for all deliveries of the unit; halve the list until who fails is alone."""
    last: Run | None = None
    try:
        with Unit(ledger, using=using) as unit:
            runs = list(unit.due())
            last = runs[0] if runs else None
            _run_part(unit, runs, config)
    except (Clash, CommitRefused) as exc:
        exc.run = exc.run or last
        raise


def run_outside(look: Callable[[], Run | None], ledger: Callable[[], Ledger], *, using: str, config: BusConfig) -> None:
    """Run a handler that is `atomic=False`, and write down in a second transaction what became of it: at least once."""
    run = look()
    returned: list[Any] = []
    failure: Exception | None = None
    if run is not None:
        try:
            returned = running.call([run.delivery], config)
        # The boundary of a run.
        except Exception as exc:  # noqa: BLE001
            failure = _own(exc, run)
    with Unit(ledger(), using=using) as unit:
        for due in unit.due():
            _settle_outside(unit, due, run, returned, failure, config)


async def arun_each(make_ledger: Callable[[], Ledger], *, using: str, config: BusConfig) -> None:
    """Run a unit of async handlers; every database call goes through the thread of the current context.

    A visit to that thread costs as much as a statement, so between two handlers there is one.
    """
    steps = _steps(make_ledger, using)
    run = await sync_to_async(_advance)(steps, None)
    while run is not None:
        failure: Exception | None = None
        try:
            await running.arun(run.delivery, config)
        # The boundary of a run: whatever a handler raises is its own failure, and undone alone.
        except Exception as exc:  # noqa: BLE001
            failure = exc
        except BaseException:
            await sync_to_async(steps.close)()
            raise
        run = await sync_to_async(_advance)(steps, failure)


async def arun_outside(
    look: Callable[[], Run | None], ledger: Callable[[], Ledger], *, using: str, config: BusConfig
) -> None:
    """Do what `run_outside` does for an async handler."""
    run = await sync_to_async(_look)(look)
    returned: list[Any] = []
    failure: Exception | None = None
    if run is not None:
        try:
            returned = await running.acall([run.delivery], config)
        # The boundary of a run.
        except Exception as exc:  # noqa: BLE001
            failure = _own(exc, run)

    def settle() -> None:
        with Unit(ledger(), using=using) as unit:
            for due in unit.due():
                _settle_outside(unit, due, run, returned, failure, config)

    await sync_to_async(settle)()


def _look(look: Callable[[], Run | None]) -> Run | None:
    refresh_connections()
    return look()


def _steps(make_ledger: Callable[[], Ledger], using: str) -> Generator[Run, Exception | None, None]:
    """Yield each run of a unit, and be told how its handler failed, or None."""
    last: Run | None = None
    refresh_connections()
    try:
        with Unit(make_ledger(), using=using) as unit:
            for run in unit.due():
                last = run
                failure = yield run
                if failure is None:
                    _keep(unit, run)
                else:
                    _fail(unit, run, failure)
    except (Clash, CommitRefused) as exc:
        exc.run = exc.run or last
        raise


def _advance(steps: Generator[Run, Exception | None, None], failure: Exception | None) -> Run | None:
    try:
        return steps.send(failure)
    except StopIteration:
        return None


def _keep(unit: Unit, run: Run) -> None:
    try:
        unit.succeed([run])
    # The boundary of a run: what shows only now that it did not succeed.
    except Exception as exc:  # noqa: BLE001
        _fail(unit, run, exc)


def _run_part(unit: Unit, runs: Sequence[Run], config: BusConfig) -> None:
    runs = [run for run in runs if not unit.steps_aside(run)]
    if not runs:
        return
    unit.start(runs[0])
    try:
        running.run_batch([run.delivery for run in runs], config)
        unit.succeed(runs)
    # The boundary of a run: a list that fails is divided, so that only who is to blame fails in the end.
    except Exception as exc:  # noqa: BLE001
        if len(runs) == 1:
            _fail(unit, runs[0], exc)
            return
        _undo(unit, runs[0], exc)
        middle = len(runs) // 2
        _run_part(unit, runs[:middle], config)
        _run_part(unit, runs[middle:], config)


def _settle_outside(
    unit: Unit, due: Run, ran: Run | None, returned: list[Any], failure: Exception | None, config: BusConfig
) -> None:
    if ran is None or due.delivery.inbox_key != ran.delivery.inbox_key:
        raise Clash("what waits has changed since it was looked at")
    try:
        if failure is not None:
            raise failure
        running.finish([due.delivery], returned, config)
        unit.succeed([due])
    # The boundary of a run.
    except Exception as exc:  # noqa: BLE001
        _fail(unit, due, exc)


def _fail(unit: Unit, run: Run, error: Exception) -> None:
    if isinstance(error, Interrupted):
        raise error
    try:
        unit.fail(run, error)
    except (Outage, TransactionEnded) as lost:
        lost.run = _to_blame(run, error)
        raise


def _undo(unit: Unit, run: Run, error: Exception) -> None:
    if isinstance(error, Interrupted):
        raise error
    try:
        unit.undo(error)
    except (Outage, TransactionEnded) as lost:
        lost.run = _to_blame(run, error)
        raise


def _own(error: Exception, run: Run) -> Exception:
    """Return the handler's own failure; raise Outage where the database was gone."""
    if diagnose_outside(error) is Trouble.OUTAGE:
        lost = Outage(str(error))
        lost.run = _to_blame(run, error)
        raise lost from error
    return error


def _to_blame(run: Run, error: Exception) -> Run | None:
    """Return who may have broken the connection; nobody has where the disk is full, however often it is met."""
    return None if is_full(error) else run
