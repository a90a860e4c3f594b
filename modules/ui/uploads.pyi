"""Drop zones that hand over the file as it came.

Gradio's own would decode a picture or run ffmpeg before we have seen the
file, and answer a broken one with a sentence of theirs; ours is checked by a
job, which answers in the user's language.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr


def _file_of(payload: Any) -> Path | None:
    """The received file; Gradio has already checked that it lies in its upload folder."""
    return Path(payload.path) if payload is not None and payload.path else None

from gradio.events import Dependency

class VideoDrop(gr.Video):
    """A video, uploaded or from the webcam."""

    is_template = True

    def preprocess(self, payload: Any) -> Path | None:  # type: ignore[override]
        """The file, untouched."""
        return _file_of(payload)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


class PhotoDrop(gr.Image):
    """A photo."""

    is_template = True

    def preprocess(self, payload: Any) -> Path | None:
        """The file, untouched."""
        return _file_of(payload)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


class SoundDrop(gr.Audio):
    """A sound, uploaded or from the microphone."""

    is_template = True

    def preprocess(self, payload: Any) -> Path | None:  # type: ignore[override]
        """The file, untouched."""
        return _file_of(payload)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component