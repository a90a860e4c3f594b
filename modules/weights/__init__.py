"""Published model files: which there are, whether they are here, and how they are fetched. Never code."""

from modules.weights.catalogue import Entry, entries
from modules.weights.store import State, download_bytes, ensure, folder, import_folder, state, verify

__all__ = ["Entry", "State", "download_bytes", "ensure", "entries", "folder", "import_folder", "state", "verify"]
