"""What a ranking may be of, by key: a query of the table ("q3"), a gallery image ("g3"), an upload ("u1")."""

from __future__ import annotations

from collections.abc import Mapping

from reidlab.errors import UserError, shown
from reidlab.explorers.pictures import Picture, Thumbnails
from reidlab.explorers.rankings import Ranked, Rankings
from reidlab.explorers.uploads import Kept

__all__ = ["Subjects"]


class Subjects:
    """Rankings and pictures by key.

    Args:
        rankings: of the queries and of the gallery's images.
        thumbnails: of the queries "q" and of the gallery "g".
        uploads: images of the user's own, as far as they are kept.
    """

    def __init__(self, rankings: Rankings, thumbnails: Mapping[str, Thumbnails], uploads: Mapping[str, Kept]) -> None:
        self.rankings, self.thumbnails, self.uploads = rankings, thumbnails, uploads

    def check(self, key: str) -> None:
        """Refuse a key of nothing.

        Raises:
            UserError: there is no such query or image, or the upload is not kept any more.
        """
        known = key[:1] in self.thumbnails and key[1:].isdecimal() and int(key[1:]) < len(self.thumbnails[key[0]])
        if not known and key not in self.uploads:
            raise UserError(f"{shown(key)} is no query, no gallery image and no upload that is still kept.")

    def ranked(self, key: str, rerank: str) -> Ranked:
        """Return the whole ranking of a query, gallery image or upload.

        Args:
            key: of what the gallery is ranked for.
            rerank: name of the re-ranking, "" none; queries alone are re-ranked.

        Raises:
            UserError: as `check`.
        """
        self.check(key)
        if key in self.uploads:
            return self.uploads[key].ranked
        if key[0] == "g":
            return self.rankings.of_gallery(int(key[1:]))
        return self.rankings.of_query(int(key[1:]), rerank)

    def picture(self, key: str) -> Picture:
        """Return the thumbnail of a key that `check` accepts."""
        return self.uploads[key].picture if key in self.uploads else self.thumbnails[key[0]].get(int(key[1:]))
