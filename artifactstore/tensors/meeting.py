"""Meeting: processes of one user find each other by a socket and its key, in a folder that is that user's alone

Each side proves to the other that it knows the key, and waits half a minute at most for whatever the other has to say.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any

_SOCKET, _KEY = "host.sock", "host.key"
_SECONDS = 30


def listen(folder: Path, key: bytes) -> socket.socket:
    """A socket that listens in a folder, made when it is not there

    Raise OSError for a folder that is not this user's alone, or in which another listens.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = str(folder / _SOCKET)
    with _entered(folder) as fd:
        with socket.socket(socket.AF_UNIX) as one:
            one.setblocking(False)
            if one.connect_ex(path) not in (errno.ENOENT, errno.ECONNREFUSED):
                raise FileExistsError(errno.EEXIST, "another serves there; choose another folder")
        for name in (_SOCKET, _KEY):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(_KEY, flags, 0o600, dir_fd=fd), "wb") as file:
            file.write(key)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    return listening


@contextmanager
def asked(client: socket.socket, key: bytes) -> Iterator["Connection[Any, Any]"]:
    """With one who connected; raise AuthenticationError, OSError or EOFError for one who is not to be answered"""
    with Connection(os.dup(_patient(client).fileno())) as connection:
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
        yield connection


@contextmanager
def connected(folder: Path) -> Iterator["Connection[Any, Any]"]:
    """With who listens in a folder; raise AuthenticationError, OSError or EOFError when nobody is to be trusted"""
    with _entered(folder) as fd, os.fdopen(os.open(_KEY, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd), "rb") as file:
        key = file.read()
    with _patient(socket.socket(socket.AF_UNIX)) as one:
        one.connect(str(folder / _SOCKET))
        with Connection(one.detach()) as connection:
            answer_challenge(connection, key)
            deliver_challenge(connection, key)
            yield connection


@contextmanager
def _entered(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(fd)
        if found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PermissionError(errno.EPERM, "it has to be a folder that you alone may enter (chmod 700)")
        yield fd
    finally:
        os.close(fd)


def _patient(one: socket.socket) -> socket.socket:
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        one.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _SECONDS, 0))
    return one
