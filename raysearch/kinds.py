"""What kinds of programs there are: where they run, what they make, how they are used. Empty: nothing is said of it."""

from __future__ import annotations

from typing import Literal, get_args

Backend = Literal["", "cpu", "cuda", "metal", "rocm"]
Modality = Literal[
    "",
    "generic",
    "text_generation",
    "speech_to_text",
    "text_to_speech",
    "realtime_audio",
    "image_generation",
    "video_generation",
    "kv_store",
]
Interface = Literal["", "inprocess", "command", "service"]
"""How a program is used: called in the evaluator's process, started as a command, or asked as a server."""
BACKENDS: tuple[str, ...] = get_args(Backend)[1:]
MODALITIES: tuple[str, ...] = get_args(Modality)[1:]
INTERFACES: tuple[str, ...] = get_args(Interface)[1:]
