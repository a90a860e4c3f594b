"""Engines stay loaded while there is room, and the right one leaves when there is not."""

import pytest

from modules.devices import SPARE_BYTES, Keeper
from modules.errors import StudioError


class Heavy:
    """An engine that holds ``size`` MB of a pretended memory."""

    def __init__(self, memory: list[int], size: int) -> None:
        self.memory, self.size = memory, size
        memory[0] -= size * 1_000_000

    def unload(self) -> None:
        self.memory[0] += self.size * 1_000_000


def test_kept_while_there_is_room_and_the_longest_unused_leaves() -> None:
    memory = [3_000_000_000 + SPARE_BYTES]
    keeper = Keeper(lambda: memory[0])
    made: list[str] = []

    def get(name: str, size: int) -> Heavy:
        def make() -> Heavy:
            made.append(name)
            return Heavy(memory, size)

        return keeper.get(name, size, make)

    a = get("a", 1000)
    get("b", 1000)
    assert get("a", 1000) is a  # used again: b is now the longest unused
    get("c", 1500)
    assert made == ["a", "b", "c"]
    assert get("a", 1000) is a
    get("b", 1000)
    assert made == ["a", "b", "c", "b"]


def test_no_room_at_all_is_said_plainly() -> None:
    keeper = Keeper(lambda: SPARE_BYTES + 900_000_000)
    with pytest.raises(StudioError) as caught:
        keeper.get("big", 1000, lambda: Heavy([0], 0))
    assert (caught.value.code, caught.value.values) == ("memory_short", {"needed": 1000, "free": 1400})
    assert caught.value.retryable
