"""What recipes can name, listed and explained: models, losses, transforms, ..., and the recipes themselves."""

from reidlab.listings.lists import choose, records, show
from reidlab.listings.registered import KINDS

__all__ = ["KINDS", "choose", "records", "show"]
