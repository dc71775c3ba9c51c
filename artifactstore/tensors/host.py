"""Host: tensors of one process for others of the machine, by CUDA IPC or, on the CPU, by shared memory

A server answers in a folder that is its user's alone. Who has a tensor from it has the same memory, and nobody may
write there: the server would go on to give it as sound. On a GPU the memory stays as long as the server's process.
"""

import json
import logging
import os
import secrets
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from multiprocessing import AuthenticationError
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from artifactstore.core.errors import Denied
from artifactstore.tensors.meeting import asked, connected, listen
from artifactstore.tensors.shared import packed
from artifactstore.tensors.shelf import Key, Shelf

_LOG = logging.getLogger(__name__)
_PAUSE = 1  # seconds


def _id(key: Key) -> str:
    return blake2b(repr(key).encode(), digest_size=32).hexdigest()


class Server:
    """Answers in a folder, in threads of its own, until the block ends

    Raise Denied where it cannot: for a folder that is not this user's alone, or in which another serves.
    """

    def __init__(self, shelf: Shelf, folder: Path) -> None:
        self._shelf, self._key, self._pid = shelf, secrets.token_bytes(32), os.getpid()
        self._clients: set[socket.socket] = set()
        try:
            self._listening = listen(folder, self._key)
            self._wake, self._woken = socket.socketpair()
        except OSError as e:
            raise Denied(f"Tensors cannot be shared in {folder}: {e.strerror or e}") from e
        self._thread = threading.Thread(target=self._accept, name="artstore-host", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._pid:
            # a forked child leaves its parent's server alone
            return
        self._wake.send(b".")
        self._thread.join()
        for one in [self._listening, *list(self._clients)]:
            # a child may have it open too
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for one in (self._listening, self._wake, self._woken):
            one.close()

    def _accept(self) -> None:
        while self._woken not in wait([self._listening, self._woken]):
            try:
                client, _ = self._listening.accept()
                self._clients.add(client)
                threading.Thread(target=self._answer, args=(client,), name="artstore-host", daemon=True).start()
            except (OSError, RuntimeError) as e:
                _LOG.warning("Who asks for tensors waits, without descriptors or threads: %s", e)
                wait([self._woken], _PAUSE)

    def _answer(self, client: socket.socket) -> None:
        try:
            with client, asked(client, self._key) as connection:
                wanted = set(json.loads(connection.recv_bytes()))
                found = {name: one for key, one in self._shelf.all() if (name := _id(key)) in wanted}
                connection.send_bytes(ForkingPickler.dumps(packed(found)))
                # they have to be here until they are there, which the client's end says
                connection.recv_bytes()
        except (OSError, EOFError, AuthenticationError) as e:
            _LOG.debug("A client went: %r", e)
        finally:
            self._clients.discard(client)


class Asked:
    """Asks the server of a folder for tensors, anew each time; what cannot be had is said in the log, not raised"""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, keys: Sequence[Key]) -> dict[Key, torch.Tensor]:
        """Those that the server has"""
        by_id = {_id(key): key for key in keys}
        found: dict[Key, torch.Tensor] = {}
        try:
            with connected(self._folder) as connection:
                connection.send_bytes(json.dumps(list(by_id)).encode())
                for name, each in ForkingPickler.loads(connection.recv_bytes()).items():
                    found[by_id[name]] = ForkingPickler.loads(each)
        except (OSError, EOFError, AuthenticationError, RuntimeError) as e:
            # torch raises RuntimeError for memory that this process may not open
            _LOG.warning("%d of %d tensors come from %s: %r", len(found), len(keys), self._folder, e)
        return found
