"""Raw: the least that reading, hashing, writing and syncing a file costs; `raw.py MODE SOURCE [TARGET]`

Modes: `hash` reads and hashes, `copy` reads, hashes, writes and syncs, in one loop over 8 MiB of reused memory.
With `+sha256` the file's sha256 is computed on a second thread beside BLAKE3, as a store that promises both has to.
Prints its seconds.
"""

import hashlib
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from blake3 import blake3

CHUNK = 8 << 20


def main(mode: str, source: str, target: str | None = None) -> None:
    both = mode.endswith("+sha256")
    name, sha = blake3(max_threads=blake3.AUTO), hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK))
    reading = os.open(source, os.O_RDONLY)
    writing = os.open(target, os.O_CREAT | os.O_WRONLY | os.O_TRUNC) if target else None
    with ThreadPoolExecutor(1) as second:
        while count := os.readv(reading, [buffer]):
            chunk = buffer[:count]
            hashed = second.submit(sha.update, chunk) if both else None
            name.update(chunk)
            if writing is not None:
                os.write(writing, chunk)
            if hashed is not None:
                hashed.result()
    if writing is not None:
        os.fsync(writing)


if __name__ == "__main__":
    began = time.perf_counter()
    main(*sys.argv[1:])
    print(time.perf_counter() - began)
