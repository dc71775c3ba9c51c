"""Library: one call of the store in a process that is up; `library.py add|checkout STORE WHAT [TARGET]`

Prints the seconds of the call, as the raw contenders print theirs.
"""

import sys
import time

from artifactstore import Store


def main(verb: str, url: str, what: str, target: str = "") -> None:
    with Store.open(url) as store:
        began = time.perf_counter()
        if verb == "add":
            store.add([what], name="model")
        else:
            store.checkout(what, target)
        print(time.perf_counter() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
