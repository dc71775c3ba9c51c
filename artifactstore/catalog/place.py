"""Where an SQLite catalog may lie: a regular file on a disk of this machine"""

import stat
from pathlib import Path

from artifactstore.core.errors import Denied, Invalid, NotFound, Unavailable

# WAL shares memory between its readers and writers, which no network file system gives
_NETWORK = frozenset(
    [
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "smb2",
        "smb3",
        "smbfs",
        "fuse.ceph",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
    ]
)
MAKE_ANEW = "artstore catalog rebuild makes it anew from its store"
_MOUNTS = Path("/proc/self/mountinfo")


def check_file(file: Path, *, network: bool, create: bool) -> None:
    """Raise NotFound when a catalog to open is missing, Invalid when none can be at this place"""
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as e:
        _refuse_missing(file, create=create, cause=e)
        mode = stat.S_IFREG
    except PermissionError as e:
        raise Denied(f"Catalog {file} may not be looked at by this user", path=str(file)) from e
    except OSError as e:
        raise Unavailable(f"Catalog {file} cannot be looked at: {e.strerror}", code="catalog", path=str(file)) from e
    if stat.S_ISDIR(mode):
        raise Invalid(f"Catalog {file} is a folder; name a file in it", code="catalog-url", path=str(file))
    if not stat.S_ISREG(mode):
        raise Invalid(f"Catalog {file} is no regular file", code="catalog-url", path=str(file))
    kind = file_system(file.resolve(), _mounts())
    if kind in _NETWORK and not network:
        raise Invalid(
            f"Catalog {file} lies on a network file system ({kind}), where SQLite loses data; keep it on a local disk "
            "or use Postgres (?network=allow when this host alone writes it)",
            code="network-file-system",
            path=str(file),
            file_system=kind,
        )


def _refuse_missing(file: Path, *, create: bool, cause: OSError) -> None:
    if not create:
        raise NotFound(f"No catalog at {file}; {MAKE_ANEW}", code="catalog", path=str(file)) from cause
    if not file.parent.is_dir():
        raise Invalid(
            f"No folder {file.parent} for the catalog; make it first", code="catalog-url", path=str(file)
        ) from cause


def _mounts() -> str:
    return _MOUNTS.read_text("utf-8", "surrogateescape") if _MOUNTS.exists() else ""


def file_system(file: Path, mounts: str) -> str | None:
    """The type of the file system that holds `file`, by the text of /proc/self/mountinfo (proc(5)); None if unknown"""
    depth, kind = -1, None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        mount = Path(fields[4].replace(r"\040", " ").replace(r"\011", "\t").replace(r"\134", "\\"))
        # of several mounts on one folder the last one is seen
        if file.is_relative_to(mount) and len(mount.parts) >= depth:
            depth, kind = len(mount.parts), after.split(" ")[0]
    return kind
