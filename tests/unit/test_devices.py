"""Which devices there are and can be used; who is kept loaded, who leaves, and what happens when memory runs out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modules import translate
from modules.devices import (
    Build,
    Device,
    Keeper,
    Machine,
    Need,
    choose,
    devices,
    dtype_for,
    machine_facts,
    retrying,
    torch_device,
    write_machine,
)
from modules.devices import machine as machine_file
from modules.devices.measured import Measured
from modules.devices.memory import Gauge, Watch, free_gpu_memory, is_out_of_memory
from modules.devices.nvidia import Card, read_cards, read_programs
from modules.devices.planner import SPARE_BYTES, SPARE_GPU_BYTES, halved
from modules.devices.probe import problems, refusal
from modules.errors import StudioError
from modules.settings import ROOT
from tests.waiting import wait_for

MB = 1_000_000
CPU = Device("cpu", 0, "CPU", 16_000 * MB)
RTX3060 = Device("cuda", 0, "NVIDIA GeForce RTX 3060", 12_000 * MB, (8, 6))
RTX5090 = Device("cuda", 1, "NVIDIA GeForce RTX 5090", 32_000 * MB, (12, 0))
GTX1080 = Device("cuda", 0, "NVIDIA GeForce GTX 1080", 8_000 * MB, (6, 1))
APPLE = Device("mps", 0, "Apple GPU", 16_000 * MB)
OLD = Build("2.5.0+cu124", "12.4", ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"))
NEW = Build("2.13.0+cu130", "13.0", ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"))
PROCESSOR_ONLY = Build("2.13.0+cpu")


# --- which device ----------------------------------------------------------------------------------


def test_this_machine_has_a_device_that_adds_up() -> None:
    found = devices()
    assert found[-1].kind == "cpu" and found[-1].memory_bytes > 0
    assert torch.ones(3, device=torch_device(choose())).sum().item() == 3
    assert [torch_device(device) for device in (CPU, RTX5090)] == [torch.device("cpu"), torch.device("cuda:1")]


@pytest.mark.parametrize(
    ("choice", "found", "build", "expected"),
    [
        ("auto", (CPU,), PROCESSOR_ONLY, CPU),
        ("auto", (APPLE, CPU), PROCESSOR_ONLY, CPU),
        ("mps", (APPLE, CPU), PROCESSOR_ONLY, APPLE),
        ("auto", (RTX3060, RTX5090, CPU), NEW, RTX5090),
        ("auto", (RTX3060, RTX5090, CPU), OLD, RTX3060),  # the larger one cannot be used
        ("cuda:0", (RTX3060, RTX5090, CPU), NEW, RTX3060),
        ("cuda", (RTX3060, CPU), NEW, RTX3060),
        ("cpu", (RTX5090, CPU), OLD, CPU),
    ],
)
def test_choice(choice: str, found: tuple[Device, ...], build: Build, expected: Device) -> None:
    assert choose(choice, found, build) == expected


@pytest.mark.parametrize("choice", ["auto", "cuda", "cuda:1"])
def test_a_card_newer_than_the_build_is_refused_in_one_sentence(choice: str) -> None:
    with pytest.raises(StudioError) as caught:
        choose(choice, (RTX5090, CPU), OLD)
    assert caught.value.code == "gpu_build_old"
    for language in translate.LANGUAGES:
        said = translate.error_text(caught.value, language)
        assert "RTX 5090" in said and "2.5.0+cu124" in said and "580" in said and ".venv" in said


@pytest.mark.parametrize("choice", ["cuda", "cuda:7", "mps", "tpu"])
def test_a_device_that_is_not_there(choice: str) -> None:
    with pytest.raises(StudioError) as caught:
        choose(choice, (CPU,), PROCESSOR_ONLY)
    assert (caught.value.code, caught.value.values) == ("device_unknown", {"device": choice, "known": "cpu"})


@pytest.mark.parametrize(
    ("capability", "architectures", "fits"),
    [
        ((8, 9), ("sm_80",), True),  # machine code runs on later cards of its major number
        ((8, 0), ("sm_86",), False),
        ((9, 0), ("sm_80",), False),
        ((9, 0), ("compute_80",), True),  # PTX is compiled for any later card
        ((7, 5), ("compute_80",), False),
        ((9, 0), ("sm_90a",), True),
        ((12, 1), ("sm_120a", "compute_120a"), False),
        ((12, 1), ("sm_120f",), True),
        ((12, 0), ("compute_100f",), False),
        ((12, 0), (), False),
    ],
)
def test_what_kernels_run_on(capability: tuple[int, int], architectures: tuple[str, ...], fits: bool) -> None:
    card = Device("cuda", 0, "card", 0, capability)
    assert (refusal(card, Build("x", "13.0", architectures)) is None) is fits


def test_problems_of_cards() -> None:
    card = Card(RTX5090.name, (12, 0), "550.54")
    codes = [
        [problem.code for problem in problems(found, build, cards)]
        for found, build, cards in [
            ((CPU,), PROCESSOR_ONLY, ()),
            ((CPU,), PROCESSOR_ONLY, (card,)),
            ((CPU,), NEW, (card,)),
            ((RTX3060, RTX5090, CPU), OLD, (card, card)),
            ((GTX1080, CPU), NEW, (card,)),
            ((RTX5090, CPU), NEW, (card,)),
            ((Device("cuda", 0, "AMD", 0, (11, 0)), CPU), Build("2.13.0+rocm7", "", ("gfx1100",)), ()),
        ]
    ]
    assert codes == [[], ["gpu_build_cpu"], ["gpu_unreachable"], ["gpu_build_old"], ["gpu_build_new"], [], []]


def test_precision() -> None:
    gtx1660 = Device("cuda", 0, "NVIDIA GeForce GTX 1660 Ti", 6_000 * MB, (7, 5))
    v100 = Device("cuda", 0, "Tesla V100", 16_000 * MB, (7, 0))
    half = {device.name for device in (CPU, APPLE, GTX1080, gtx1660, v100, RTX5090) if dtype_for(device) is torch.half}
    assert half == {v100.name, RTX5090.name}
    assert dtype_for(GTX1080) is dtype_for(CPU) is torch.float32


def test_what_the_tool_of_the_cards_says() -> None:
    said = "NVIDIA GeForce RTX 3060, 8.6, 580.65.06\nAn odd, named card, 12.0, 575.1\nNo devices\n\nx, [N/A], 1\n"
    assert read_cards(said) == (
        Card("NVIDIA GeForce RTX 3060", (8, 6), "580.65.06"),
        Card("An odd, named card", (12, 0), "575.1"),
    )
    said = "12, C:\\Games\\a.exe\n13, /usr/bin/python3\n14, /usr/bin/blender\n15, [Not Found]\n16, blender\nNone\n"
    assert read_programs(said, {13}) == ("a.exe", "blender")


# --- what the page knows ---------------------------------------------------------------------------


def test_machine_facts_are_asked_in_the_background_once_and_then_read(tmp_path: Path) -> None:
    made = Machine(OLD, (RTX5090, CPU), problems((RTX5090, CPU), OLD, ()))
    asked: list[int] = []
    go_on = threading.Event()

    def ask() -> Machine:
        asked.append(1)
        assert go_on.wait(60)
        return made

    data = tmp_path / "数据"
    assert machine_facts(data, ask) is None
    assert machine_facts(data, ask) is None
    go_on.set()
    wait_for(lambda: machine_facts(data, ask) is not None)
    known = machine_facts(data, ask)
    assert known is not None and asked == [1]
    assert known.to_dict() == made.to_dict() and known.devices == made.devices and known.build == made.build
    assert [problem.code for problem in known.problems] == ["gpu_build_old"]


def _answers_anew(data: Path, other: Machine) -> bool:
    """Whether what lies in ``data`` no longer counts, and ``other`` takes its place."""
    fresh = machine_facts(data, lambda: other) is None
    wait_for(lambda: machine_facts(data, lambda: other) is not None)
    known = machine_facts(data)
    return fresh and known is not None and known.to_dict() == other.to_dict()


def test_machine_facts_of_another_torch_of_before_a_restart_or_damaged_do_not_count(tmp_path: Path) -> None:
    before, after = Machine(NEW, (CPU,)), Machine(NEW, (RTX3060, CPU))
    file = tmp_path / machine_file.FILE

    def write() -> None:
        write_machine(tmp_path, lambda: before)
        assert machine_facts(tmp_path) is not None

    write()
    file.write_text(json.dumps({**json.loads(file.read_text()), "installed": "1.0"}))
    assert _answers_anew(tmp_path, after)
    write()
    os.utime(file, (1000, 1000))
    assert _answers_anew(tmp_path, after)
    for damaged in ("{", "[]", '{"installed": "x"}', file.read_text().replace('"devices"', '"other"')):
        write()
        file.write_text(damaged)
        assert _answers_anew(tmp_path, after)


def test_the_real_machine_is_asked_in_a_child_process(tmp_path: Path) -> None:
    asked = write_machine(tmp_path)
    assert asked.build.version == torch.__version__
    assert asked.devices == devices()
    known = machine_facts(tmp_path)
    assert known is not None and known.to_dict() == asked.to_dict()


def test_a_torch_that_does_not_start_is_a_problem_and_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "torch"
    broken.mkdir()
    (broken / "__init__.py").write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert [problem.code for problem in machine_file.ask_child().problems] == ["torch_broken"]


# --- who is loaded ---------------------------------------------------------------------------------


class Memory:
    """A pretended machine: free MB of main memory and of a card, or None without one."""

    def __init__(self, main: int, gpu: int | None = None) -> None:
        self.main, self.gpu = main, gpu
        self.left: list[str] = []

    def keeper(self, file: Path | None = None, gauge: Gauge | None = None) -> Keeper:
        return Keeper(
            file,
            lambda: self.main * MB + SPARE_BYTES,
            lambda: None if self.gpu is None else self.gpu * MB + SPARE_GPU_BYTES,
            gauge or FakeGauge(self),
            lambda: ("game.exe", "blender"),
        )


class FakeGauge(Gauge):
    """Says what is taken of a pretended memory."""

    def __init__(self, memory: Memory) -> None:
        self.memory, self.whole = memory, (memory.main, memory.gpu or 0)
        self.peak = 0

    def main(self) -> int:
        return (self.whole[0] - self.memory.main) * MB

    def gpu(self) -> int:
        return (self.whole[1] - (self.memory.gpu or 0)) * MB

    def forget_gpu_peak(self) -> None:
        self.peak = self.gpu()

    def gpu_peak(self) -> int:
        return max(self.peak, self.gpu())


class Heavy:
    """An engine that holds memory of a pretended machine from its first use on."""

    def __init__(self, memory: Memory, name: str, main: int, gpu: int = 0) -> None:
        self.memory, self.name, self.size = memory, name, (main, gpu)
        self.loaded = False
        self.load()

    def load(self) -> None:
        if not self.loaded:
            self.loaded = True
            self._take(1)

    def unload(self) -> None:
        if self.loaded:
            self.loaded = False
            self._take(-1)
        self.memory.left.append(self.name)

    def _take(self, sign: int) -> None:
        self.memory.main -= sign * self.size[0]
        if self.memory.gpu is not None:
            self.memory.gpu -= sign * self.size[1]


def get(keeper: Keeper, memory: Memory, name: str, main: int, gpu: int = 0) -> Heavy:
    return keeper.get(name, Need(main, gpu), lambda: Heavy(memory, name, main, gpu))


def test_kept_while_there_is_room_and_the_longest_unused_leaves() -> None:
    memory = Memory(3000)
    keeper = memory.keeper()
    a = get(keeper, memory, "a", 1000)
    get(keeper, memory, "b", 1000)
    assert get(keeper, memory, "a", 1000) is a  # used again: b is now the longest unused
    get(keeper, memory, "c", 1500)
    assert memory.left == ["b"]
    assert get(keeper, memory, "a", 1000) is a
    get(keeper, memory, "b", 1000)
    assert memory.left == ["b", "c"]


def test_who_holds_nothing_of_a_card_does_not_leave_for_it() -> None:
    memory = Memory(10_000, 4000)
    keeper = memory.keeper()
    get(keeper, memory, "processor only", 500)
    get(keeper, memory, "x", 500, 2000)
    get(keeper, memory, "y", 500, 1500)
    get(keeper, memory, "z", 500, 1000)
    assert memory.left == ["x"]
    get(keeper, memory, "all", 500, 4000)
    assert memory.left == ["x", "y", "z"]


def test_no_room_in_main_memory_is_said_plainly() -> None:
    memory = Memory(900)
    with pytest.raises(StudioError) as caught:
        get(memory.keeper(), memory, "big", 1000)
    assert (caught.value.code, caught.value.values) == ("memory_short", {"needed": 1000, "free": 1400})
    assert caught.value.retryable


def test_no_room_on_the_card_names_programs_to_close_and_engines_that_fit() -> None:
    memory = Memory(9000, 2000)
    keeper = memory.keeper()
    get(keeper, memory, "other", 100, 500)
    others = {"Small": 1900, "Large": 2100, "Built-in": 0}
    with pytest.raises(StudioError) as caught:
        keeper.get("big", Need(100, 2500), lambda: Heavy(memory, "big", 100, 2500), others)
    assert memory.left == ["other"]  # it was tried
    assert caught.value.code == "gpu_memory_short" and caught.value.retryable
    assert caught.value.values == {
        "needed": 2500,
        "free": 2200,
        "programs": "game.exe, blender",
        "engines": "Small, Built-in",
    }
    for language in translate.LANGUAGES:
        said = translate.error_text(caught.value, language)
        assert all(word in said for word in ("2500", "2200", "game.exe, blender", "Small, Built-in"))


def test_without_a_card_all_must_fit_in_main_memory() -> None:
    memory = Memory(3000, None)
    keeper = memory.keeper()
    get(keeper, memory, "a", 1000, 1500)
    with pytest.raises(StudioError) as caught:
        get(keeper, memory, "b", 1000, 2500)
    assert (caught.value.code, caught.value.values["needed"]) == ("memory_short", 3500)


def test_torch_for_processors_has_no_card_memory() -> None:
    if torch.cuda.is_available():
        assert (free_gpu_memory() or 0) > 0
    else:
        assert free_gpu_memory() is None
        assert Gauge().gpu() == Gauge().gpu_peak() == 0


# --- what was measured -----------------------------------------------------------------------------


def test_measured_needs_take_the_place_of_what_the_info_says(tmp_path: Path) -> None:
    file = tmp_path / "memory.json"
    memory = Memory(9000, 4000)
    keeper = memory.keeper(file)
    small = keeper.get("small", Need(2000, 3000), lambda: Heavy(memory, "small", 0, 0))
    with keeper.measuring("small"):  # says 3000 MB, takes 800, of which it keeps all
        small.unload()
        small.size = (600, 800)
        small.load()
    with keeper.measuring("small"):  # it takes no more, and what it holds still counts
        pass
    assert Measured(file).get("small on card") == Need(600, 800)
    # In the next process there is room for it beside another one.
    memory = Memory(9000, 4000)
    keeper = memory.keeper(file)
    get(keeper, memory, "other", 100, 3000)
    keeper.get("small", Need(2000, 3000), lambda: Heavy(memory, "small", 600, 800))
    assert memory.left == []


def test_a_large_use_once_makes_others_leave_but_does_not_refuse(tmp_path: Path) -> None:
    file = tmp_path / "memory.json"
    Measured(file).note("lips", Need(5000), whole=True)
    memory = Memory(4000)
    keeper = memory.keeper(file)
    get(keeper, memory, "voice", 1000)
    get(keeper, memory, "lips", 1000)
    assert memory.left == ["voice"]


def test_the_maximum_is_forgotten_slowly_and_broken_off_work_only_raises_it(tmp_path: Path) -> None:
    measured = Measured(tmp_path / "memory.json")
    measured.note("a", Need(5000, 5000), whole=False)
    assert measured.get("a") is None  # how much of its work was that?
    measured.note("a", Need(1000, 500), whole=True)
    measured.note("a", Need(2000, 100), whole=True)
    assert measured.get("a") == Need(2000, 460)
    measured.note("a", Need(3000, 0), whole=False)
    assert measured.get("a") == Need(3000, 460)
    for _ in range(60):
        measured.note("a", Need(1000, 0), whole=True)
    known = Measured(tmp_path / "memory.json").get("a")
    assert known is not None and known.main_mb < 1010 and known.gpu_mb < 10


@pytest.mark.parametrize("content", ["", "[1]", '{"a": [1]}', '{"a": ["x", 2]}', '{"a": {"main": 1}}'])
def test_damaged_measurements_are_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "memory.json").write_text(content)
    assert Measured(tmp_path / "memory.json").get("a") is None


def test_a_folder_that_cannot_be_written_does_not_spoil_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    measured = Measured(tmp_path / "file" / "memory.json")
    measured.note("a", Need(1), whole=True)
    assert measured.get("a") == Need(1)


def test_work_that_breaks_off_is_measured_and_its_error_passes(tmp_path: Path) -> None:
    file = tmp_path / "memory.json"
    Measured(file).note("a", Need(100), whole=True)
    memory = Memory(4000)
    keeper = memory.keeper(file)
    get(keeper, memory, "a", 0)
    with pytest.raises(ZeroDivisionError), keeper.measuring("a"):
        memory.main -= 700
        raise ZeroDivisionError
    assert Measured(file).get("a") == Need(700)


def test_a_peak_between_start_and_end_is_seen() -> None:
    memory = Memory(4000, 4000)
    gauge = FakeGauge(memory)
    with Watch(gauge, 0.01) as watch:
        memory.main -= 900
        gauge.peak = 1500 * MB
        wait_for(lambda: watch._most == 900 * MB)
        memory.main += 800
    assert (watch.start.main, watch.peak.main, watch.end.main) == (0, 900 * MB, 100 * MB)
    assert (watch.peak.gpu, watch.end.gpu) == (1500 * MB, 0)


def test_the_real_gauge_sees_this_process_grow() -> None:
    # A process of its own: this one may hold freed memory enough, and then does not grow.
    words = "from modules.devices.memory import Gauge; before = Gauge().main()"
    words += "; held = bytearray(b'x') * 80_000_000; print(Gauge().main() - before)"
    grown = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 60 * MB < int(grown.stdout) < 120 * MB


# --- when it runs out all the same -----------------------------------------------------------------


def full(limit: int, tried: list[int]) -> Callable[[int], str]:
    """A run that has room for batches of up to ``limit``."""

    def run(batch: int) -> str:
        tried.append(batch)
        if batch > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return f"done with {batch}"

    return run


@pytest.mark.parametrize(("batch", "limit", "expected"), [(16, 16, [16]), (16, 8, [16, 8]), (5, 4, [5, 2])])
def test_out_of_memory_is_tried_once_more_with_half_the_batch(batch: int, limit: int, expected: list[int]) -> None:
    tried: list[int] = []
    assert retrying(full(limit, tried), batch) == f"done with {expected[-1]}"
    assert tried == expected


def test_a_batch_of_one_is_tried_again_as_others_have_left() -> None:
    assert (halved(1), halved(2), halved(3)) == (1, 1, 1)
    tried: list[int] = []
    room = [0]
    assert retrying(lambda batch: full(room[0], tried)(batch), 1, make_room=lambda: room.__setitem__(0, 1))
    assert tried == [1, 1]


def test_a_second_time_out_of_memory_is_said_plainly() -> None:
    memory = Memory(9000, 4000)
    keeper = memory.keeper()
    get(keeper, memory, "voice", 100, 1000)
    others = {"Small": 3900, "Large": 4100, "Built-in": 0}
    engine = keeper.get("lips", Need(100, 2000), lambda: Heavy(memory, "lips", 100, 2000), others)
    tried: list[int] = []

    def run(batch: int) -> str:
        engine.load()
        return full(3, tried)(batch)

    with pytest.raises(StudioError) as caught:
        keeper.retrying("lips", run, 20, lambda batch: batch // 4)
    assert tried == [20, 5]
    assert caught.value.code == "gpu_out_of_memory" and caught.value.retryable
    assert caught.value.values == {"programs": "game.exe, blender", "engines": "Small, Built-in"}
    for language in translate.LANGUAGES:
        assert "blender" in translate.error_text(caught.value, language)


def test_the_others_leave_before_the_second_try_and_the_engine_stays() -> None:
    memory = Memory(9000, 4000)
    keeper = memory.keeper()
    get(keeper, memory, "voice", 100, 1000)
    engine = get(keeper, memory, "lips", 100, 2000)
    tried: list[int] = []
    left: list[list[str]] = []

    def run(batch: int) -> str:
        left.append(list(memory.left))
        return full(10, tried)(batch)

    assert keeper.retrying("lips", run, 20) == "done with 10"
    assert left == [[], ["voice", "lips"]]
    assert get(keeper, memory, "lips", 100, 2000) is engine


def test_what_the_failed_run_held_is_free_before_the_second() -> None:
    class Tensor:
        pass

    alive: list[weakref.ref[Tensor]] = []

    def run(batch: int) -> int:
        if alive:
            return sum(held() is not None for held in alive)
        held = Tensor()
        alive.append(weakref.ref(held))
        raise torch.OutOfMemoryError(f"no room beside {held}")

    assert retrying(run, 4) == 0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (MemoryError(), False),
        (ValueError("CUDA error: out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
    tried: list[int] = []

    def run(batch: int) -> None:
        tried.append(batch)
        raise error

    with pytest.raises(StudioError if expected else type(error)):
        retrying(run, 8)
    assert tried == ([8, 4] if expected else [8])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")
def test_on_a_real_card(tmp_path: Path) -> None:
    class Network:
        """Holds 100 MB of the card, and takes 300 MB at work."""

        kept: torch.Tensor | None = None

        def work(self, megabytes: int) -> int:
            self.kept = torch.empty(100 * MB, dtype=torch.uint8, device=where)
            torch.empty((megabytes - 100) * MB, dtype=torch.uint8, device=where)
            return megabytes

        def unload(self) -> None:
            self.kept = None

    card = choose()
    where = torch_device(card)
    assert card.kind == "cuda" and machine_file.probe_here().problems == ()
    before = Gauge().gpu()  # cuBLAS keeps its workspace from other tests
    keeper = Keeper(tmp_path / "memory.json")
    network = keeper.get("x", Need(10, 500), Network)
    for _ in range(2):  # what it holds from the first time counts in the second
        with keeper.measuring("x"):
            network.work(300)
    measured = Measured(tmp_path / "memory.json").get("x on card")
    assert measured is not None and abs(measured.gpu_mb - 300) < 10
    torch.cuda.set_per_process_memory_fraction(1500 * MB / card.memory_bytes)
    try:
        assert keeper.retrying("x", network.work, 2000) == 1000
        with pytest.raises(StudioError) as caught:
            keeper.retrying("x", network.work, 20_000)
        assert caught.value.code == "gpu_out_of_memory"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert Gauge().gpu() < before + MB
