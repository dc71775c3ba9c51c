"""Quiet: libraries that speak while they load, and errors of theirs told in one line"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

from artifactstore.core.errors import Invalid, NoSpace, StoreError
from artifactstore.derive.extras import need


@contextmanager
def quiet() -> Iterator[None]:
    """No bars and no advice of transformers; compressed-tensors draws some of its own, which nothing else stops"""
    logging = need("transformers").utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(50)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def opening(what: str) -> Iterator[None]:
    """Whatever a library raises for files it cannot read is Invalid: each has errors of its own, and some raise any"""
    try:
        yield
    except StoreError:
        raise
    except MemoryError as e:
        raise NoSpace(f"Not enough memory to open the {what}", code="memory") from e
    except Exception as e:
        # the first sentence says what, those after it what else might be tried
        said = next((line for line in str(e).splitlines() if line.strip()), "").split(". ")[0]
        raise Invalid(f"The {what} cannot be opened: {type(e).__name__}: {said:.200}", code="model") from e
