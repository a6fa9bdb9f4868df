"""How does a fixed port reach a broker that listens on a random one?"""

from __future__ import annotations

import asyncio
import threading

_CHUNK = 65_536


class Forwarder:
    """Forward TCP connections from one address to another, in a thread of its own, until `close()`.

    Raises OSError at once if the port is taken; port 0 picks a free one.
    """

    def __init__(self, *, host: str, port: int, to: tuple[str, int]) -> None:
        self._to = to
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        try:
            self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, host, port))
        except OSError:
            self._loop.close()
            raise
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="eventbus-forwarder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close all connections and end the thread."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self._loop.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._to)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            writer.close()
            far_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
