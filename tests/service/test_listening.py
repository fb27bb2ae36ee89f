"""The socket the service listens on."""

import asyncio
import socket

from fieldhand.service.api import server


def test_an_answer_is_written_at_once():
    """asyncio sets TCP_NODELAY on what a socket accepts only where it knows that it is TCP."""
    found = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = writer.get_extra_info("socket")
        found.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async def main() -> None:
        sock = server.listen("127.0.0.1", 0)
        listening = await asyncio.start_server(accept, sock=sock)
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        await reader.read()
        writer.close()
        listening.close()

    asyncio.run(main())
    assert found and found[0] != 0
