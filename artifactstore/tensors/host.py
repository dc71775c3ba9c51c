"""Host: tensors of one process for others of the machine, by CUDA IPC or, on the CPU, by shared memory

A server answers in a folder that is its user's alone. What a client was given stays until that client is gone.
"""

import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from multiprocessing.connection import Client, Connection, Listener
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from artifactstore.core.errors import Denied
from artifactstore.tensors.shelf import Key, Shelf

_SOCKET, _SECRET = "host.sock", "host.key"
# names instead of descriptors, as who asks need not be a child of who answers
_STRATEGY = "file_system"
_sharing = threading.Lock()
_TORCH: Any = torch.multiprocessing  # its functions have no types


def _id(key: Key) -> str:
    return blake2b(repr(key).encode(), digest_size=32).hexdigest()


class Server:
    """Answers in a folder, in threads of its own, until the block ends; raise Denied where it cannot"""

    def __init__(self, shelf: Shelf, folder: Path) -> None:
        self._shelf = shelf
        secret = secrets.token_bytes(32)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            (folder / _SOCKET).unlink(missing_ok=True)
            (folder / _SECRET).write_bytes(secret)
            self._listener = Listener(str(folder / _SOCKET), "AF_UNIX", authkey=secret)
        except OSError as e:
            raise Denied(f"Tensors cannot be shared in {folder}: {e.strerror or e}") from e
        self._folder, self._over = folder, False
        self._thread = threading.Thread(target=self._accept, name="artstore-host", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        # the last call wakes the thread that waits for one
        Asked(self._folder)([])
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._over:
            try:
                connection = self._listener.accept()
            except (OSError, EOFError):
                # who does not know the secret, or has gone already
                continue
            threading.Thread(target=self._answer, args=(connection,), name="artstore-host", daemon=True).start()

    def _answer(self, connection: "Connection[Any, Any]") -> None:
        given: list[torch.Tensor] = []
        with connection:
            while True:
                try:
                    wanted = set(json.loads(connection.recv_bytes()))
                    found = {name: one for key, one in self._shelf.all() if (name := _id(key)) in wanted}
                    given += found.values()
                    connection.send_bytes(_packed(found))
                except (OSError, EOFError):
                    return


def _packed(tensors: Mapping[str, torch.Tensor]) -> bytes:
    with _sharing:
        before = _TORCH.get_sharing_strategy()
        _TORCH.set_sharing_strategy(_STRATEGY)
        try:
            return bytes(ForkingPickler.dumps(dict(tensors)))
        finally:
            _TORCH.set_sharing_strategy(before)


class Asked:
    """Asks the server of a folder for tensors; without one, or when it has gone, it has none"""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._connection: Connection[Any, Any] | None = None
        self._lock = threading.Lock()

    def __call__(self, keys: Sequence[Key]) -> dict[Key, torch.Tensor]:
        """Those that the server has"""
        by_id = {_id(key): key for key in keys}
        with self._lock:
            try:
                if self._connection is None:
                    secret = (self._folder / _SECRET).read_bytes()
                    self._connection = Client(str(self._folder / _SOCKET), "AF_UNIX", authkey=secret)
                self._connection.send_bytes(json.dumps(list(by_id)).encode())
                found = ForkingPickler.loads(self._connection.recv_bytes())
            except (OSError, EOFError):
                self._connection = None
                return {}
        return {by_id[name]: tensor for name, tensor in found.items()}
