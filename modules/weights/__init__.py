"""Published model files: which there are, whether they are here, and how they are fetched. Never code."""

from modules.weights.catalogue import Entry, entries
from modules.weights.choice import Choice, choose
from modules.weights.importing import import_folder, import_from
from modules.weights.meter import Transfer
from modules.weights.store import (
    State,
    arrived_bytes,
    by_hand,
    delete,
    download_bytes,
    ensure,
    file,
    folder,
    going_on,
    lying,
    removable,
    state,
    verify,
)

__all__ = [
    "Choice",
    "Entry",
    "State",
    "Transfer",
    "arrived_bytes",
    "by_hand",
    "choose",
    "delete",
    "download_bytes",
    "ensure",
    "entries",
    "file",
    "folder",
    "going_on",
    "import_folder",
    "import_from",
    "lying",
    "removable",
    "state",
    "verify",
]
