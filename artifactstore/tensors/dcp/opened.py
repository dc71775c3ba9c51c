"""Opened: the store that a reader or writer of torch.distributed.checkpoint was given, also in another process"""

import os
from typing import Any

from artifactstore.core.errors import Invalid
from artifactstore.core.settings import Settings
from artifactstore.depot import Depot, OpenStore, home_url, open_depot


class Place:
    """An open store, or the folder or URL of one, which is opened when first asked for and may be sent elsewhere"""

    def __init__(
        self, store: OpenStore | Depot | str | os.PathLike[str], catalog: str | None, settings: Settings
    ) -> None:
        self._url = os.fspath(store) if isinstance(store, str | os.PathLike) else None
        self._catalog, self._settings = catalog, settings
        self._depot = (
            None if isinstance(store, str | os.PathLike) else store if isinstance(store, Depot) else store.depot
        )

    @property
    def depot(self) -> Depot:
        """The open store; raise NoStore"""
        if self._depot is None:
            assert self._url is not None
            self._depot = open_depot(home_url(self._url, self._settings), self._catalog, settings=self._settings)
        return self._depot

    def __getstate__(self) -> dict[str, Any]:
        if self._url is None:
            raise Invalid("An open store cannot be sent to another process; give its folder or URL", code="pickle")
        return {**vars(self), "_depot": None}
