"""An interpreter that opens no socket and asks for no name, and tells of whoever tries"""

import os
from pathlib import Path

_HOOK = """
import os, sys

def _refuse(event, arguments):
    if event == "socket.gethostname":
        return  # asks the kernel for its own name
    if event.startswith("socket."):
        fd = os.open(os.environ["SOCKETS_TRIED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(fd, f"{event} {arguments[1:]}\\n".encode())
        os.close(fd)
        raise ConnectionRefusedError(f"No network here: {event}")

sys.addaudithook(_refuse)
"""


class NoNetwork:
    """The environment of such processes; `tried` holds what they tried, swallowed or not"""

    def __init__(self, folder: Path, **settings: str) -> None:
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_HOOK)
        self._log = folder / "tried"
        self.env = {**os.environ, "PYTHONPATH": str(folder), "SOCKETS_TRIED": str(self._log), **settings}

    @property
    def tried(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []
