"""What the server answers with: the page, pictures of items by their number, and marks.

Nothing that is asked for names a place: items are numbers in the order of the run, pictures have
the few names of ``ItemPictures``. So there is no path that could lead out of the run.
"""

from collections.abc import Mapping
from typing import Any

from dfp_batch.errors import ObjectMissingError
from dfp_batch.io import storage
from dfp_batch.report.details import details
from dfp_batch.report.page import Content, render
from dfp_batch.report.pictures import ItemPictures, is_map, small, webp
from dfp_batch.report.recorded_run import RecordedRun
from dfp_batch.report.tiles import SIDE_PX, PictureCache, cut_tile, encoded_tile
from dfp_batch.runs import marks

_WITHOUT_TILES_PX = 1600  # of a picture whose size is not known before


class RunService:
    """One run, as it was when the page was last asked for.

    Args:
        url: Run directory.
        token: That a mark must come with.

    Raises:
        ConfigError: if there is no run.
        LedgerError: if it is damaged.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        self._run = RecordedRun.read(url)
        self._cache = PictureCache()

    def page(self) -> str:
        """The page of the run as it is now."""
        self._run = RecordedRun.read(self._url)
        known = marks.standing_marks(self._url, self._run.attempts)
        return render(Content(self._run.summary(), {}, "serve", known, self._token))

    def details(self, number: int) -> dict[str, Any]:
        """What is told of an item."""
        item = self._item(number)

        def shown(name: str) -> dict[str, Any]:
            size = item.size(name)
            if size is None:
                return {"src": f"items/{number}/small/{name}"}
            place = f"items/{number}/tiles/{name}"
            tiles = {"height": size[0], "width": size[1], "tile": SIDE_PX, "url": place}
            return {"tiles": tiles}

        return details(item, item.names, shown)

    def preview(self, number: int) -> bytes:
        """``preview.jpg`` of an item."""
        return storage.read_bytes(self._item(number).place("preview.jpg"))

    def result(self, number: int) -> tuple[str, bytes]:
        """Name and content of the file of a result."""
        url = self._item(number).result_url
        return url.rpartition("/")[2], storage.read_bytes(url)

    def small(self, number: int, name: str) -> bytes:
        """A picture as one WebP file."""
        return webp(small(self._picture(number, name), _WITHOUT_TILES_PX))

    def tile(self, number: int, name: str, place: tuple[int, int, int]) -> tuple[bytes, str]:
        """A tile of a picture, and its type.

        Args:
            number: Of the item.
            name: Of the picture.
            place: Level, column, row.
        """
        return encoded_tile(cut_tile(self._picture(number, name), *place), is_map(name))

    def mark(self, changes: Mapping[str, Any]) -> int:
        """Keep marks in the run; those that are None are taken back.

        Raises:
            ConfigError: if one of them cannot be.
        """
        return marks.save_marks(self._url, changes, self._run.attempts)

    def _item(self, number: int) -> ItemPictures:
        if not 0 <= number < len(self._run.pairs):
            raise ObjectMissingError(f"the run has no item {number}, it has {len(self._run.pairs)}")
        return self._run.pictures(number)

    def _picture(self, number: int, name: str) -> Any:  # noqa: ANN401 - Image
        item = self._item(number)
        key = number, name, item.row.get("epoch"), item.row.get("attempt")
        return self._cache.get(key, lambda: item.picture(name))
