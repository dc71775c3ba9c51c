"""What takes long to make, made once for all processes of a run"""

import fcntl
import os
import shutil


def once(factory, name, make):
    """A folder that `make` has filled, in whichever process asked for it first; factory: pytest's tmp_path_factory"""
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, part = root / f"once-{name}", root / f"part-{name}"
    with open(root / f"lock-{name}", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(folder)
    return folder
