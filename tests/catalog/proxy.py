"""A TCP proxy before Postgres that cuts the connection at a chosen word, before or after the server got it"""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit


class Proxy:
    """Forwards bytes. cut(word, ...) arms it: the next connection that sends the word is cut, once or for good"""

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = server.replace(f":{parts.port}/", f":{self._listener.getsockname()[1]}/")
        self._word: bytes | None = None
        self._forward = self._stay_down = self._down = False
        self.cuts = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut(self, word: bytes, *, after: bool = False, stay_down: bool = False) -> None:
        self._word, self._forward, self._stay_down = word, after, stay_down

    def back(self) -> None:
        self._down = False

    def passing(self, data: bytes) -> None:
        """What a client sends goes by here"""

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._down:
                client.close()
                continue
            self._threads.append(threading.Thread(target=self._serve, args=(client,)))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server, contextlib.suppress(OSError):
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for source in ready:
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    if source is client:
                        self.passing(data)
                    if source is client and self._word is not None and self._word in data:
                        self._cut(server, data)
                        return
                    (server if source is client else client).sendall(data)

    def _cut(self, server: socket.socket, data: bytes) -> None:
        self._word = None
        self._down = self._stay_down
        if self._forward:
            server.sendall(data)
            server.recv(1 << 16)  # the server has answered, so it has done it
        self.cuts += 1


@contextlib.contextmanager
def proxied(server: str) -> Iterator[Proxy]:
    proxy = Proxy(server)
    try:
        yield proxy
    finally:
        proxy.close()
