"""GPUs, by a stand-in for NVIDIA's library that is held against the real package's names and parameters."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from raysearch.devices import Gpu, Inventory, Request, Thresholds, inventory, leased
from raysearch.devices.inventory import visible
from raysearch.devices.nvidia import POWER_CAP, THERMAL, nvidia
from raysearch.devices.provenance import provenance
from raysearch.errors import Void

UUID = "GPU-8f6d1c1e-6c5b-4f0e-9a55-0d2f3b7c9e11"
OTHER = "GPU-8f000000-0000-0000-0000-000000000000"
ABSENT = pynvml.NVML_ERROR_NOT_SUPPORTED


@dataclass
class Board:
    """One GPU of the stand-in, with an H100's figures."""

    uuid: str
    processes: list[int] = field(default_factory=list)
    utilisation: int = 0
    sm_mhz: int = 1980
    reasons: int = 0
    absent: set[str] = field(default_factory=set)
    """Questions that this one does not support."""


class Stub:
    """Speaks pynvml: the same names, parameters, constants, kinds of answers and exceptions."""

    NVMLError = pynvml.NVMLError
    NVML_CLOCK_SM = pynvml.NVML_CLOCK_SM
    NVML_CLOCK_MEM = pynvml.NVML_CLOCK_MEM
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self, *boards: Board, driver: bool = True) -> None:
        self.boards = boards
        self.driver = driver
        self.open = 0
        for name in (*THERMAL, POWER_CAP):
            setattr(self, name, getattr(pynvml, name))

    def nvmlInit(self) -> None:
        if not self.driver:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.86.15"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.boards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Board:
        return self.boards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str | bytes) -> Board:
        text = uuid.decode() if isinstance(uuid, bytes) else uuid
        for board in self.boards:
            if board.uuid == text:
                return board
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def answer(self, handle: Board, question: str, value: object) -> object:
        assert self.open, "not initialised"
        if question in handle.absent:
            raise pynvml.NVMLError(ABSENT)
        return value

    def nvmlDeviceGetUUID(self, handle: Board) -> str:
        return handle.uuid

    def nvmlDeviceGetName(self, handle: Board) -> str:
        return "NVIDIA H100 80GB HBM3"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Board) -> object:
        running = [SimpleNamespace(pid=pid, usedGpuMemory=None) for pid in handle.processes]
        return self.answer(handle, "processes", running)

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Board) -> object:
        return self.answer(handle, "processes", [])

    def nvmlDeviceGetUtilizationRates(self, handle: Board) -> object:
        return self.answer(handle, "utilisation", SimpleNamespace(gpu=handle.utilisation, memory=1))

    def nvmlDeviceGetClockInfo(self, handle: Board, type: int) -> object:
        return self.answer(handle, "clocks", {self.NVML_CLOCK_SM: handle.sm_mhz, self.NVML_CLOCK_MEM: 2619}[type])

    def nvmlDeviceGetMaxClockInfo(self, handle: Board, type: int) -> object:
        return self.answer(handle, "clocks", 1980)

    def nvmlDeviceGetTemperature(self, handle: Board, sensor: int) -> object:
        return self.answer(handle, "temperature", 41)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Board) -> object:
        return self.answer(handle, "reasons", handle.reasons)

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Board) -> object:
        return self.answer(handle, "newer reasons", handle.reasons)


@pytest.fixture
def board() -> Board:
    return Board(UUID)


@pytest.fixture
def stub(board: Board, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    stub = Stub(board, Board(OTHER))
    monkeypatch.setitem(sys.modules, "pynvml", stub)  # type: ignore[arg-type]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield stub
    assert stub.open == 0, "left open"


def test_the_stand_in_speaks_as_the_real_package_does() -> None:
    for name, ours in inspect.getmembers(Stub, inspect.isfunction):
        if name.startswith("nvml"):
            real = inspect.signature(getattr(pynvml, name)).parameters
            assert list(inspect.signature(ours).parameters)[1:] == list(real), name


def test_without_a_driver_or_the_package_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    with nvidia(Stub(driver=False)) as driver:
        assert driver is None
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as where it is not installed
    assert inventory(environ={}).gpus == ()


def test_gpus_are_listed_as_far_as_they_are_shown(stub: Stub) -> None:
    both = inventory(environ={}).gpus
    assert [(gpu.index, gpu.uuid, gpu.model) for gpu in both] == [
        (0, UUID, "NVIDIA H100 80GB HBM3"),
        (1, OTHER, "NVIDIA H100 80GB HBM3"),
    ]
    assert inventory(environ={"CUDA_VISIBLE_DEVICES": "1"}).gpus == both[1:]


@pytest.mark.parametrize(
    ("shown", "indices"),
    [
        (None, [0, 1]),
        ("", []),
        ("-1", []),
        ("1,0", [1, 0]),
        (" 1 , 0", [1, 0]),
        ("0,7,1", [0]),  # up to the first that is not there
        ("0,0,1", [0]),
        ("GPU-8f6d", [0]),
        ("GPU-8f", []),  # of two
        (OTHER, [1]),
        ("NoDevFiles", []),
    ],
)
def test_visible_devices_are_what_cuda_makes_of_them(shown: str | None, indices: list[int]) -> None:
    both = [Gpu(UUID, 0), Gpu(OTHER, 1)]
    assert [gpu.index for gpu in visible(both, shown)] == indices


def test_an_instance_of_a_gpu_is_a_device_of_its_own() -> None:
    found = visible([], "MIG-5f0b9a3c-1111-2222-3333-444455556666")
    assert [gpu.name for gpu in found] == ["gpu-MIG-5f0b9a3c-1111-2222-3333-444455556666"]


def test_a_state_is_read(board: Board, stub: Stub) -> None:
    board.processes, board.utilisation = [11, 12], 37
    board.reasons = pynvml.nvmlClocksEventReasonSwThermalSlowdown | pynvml.nvmlClocksEventReasonSwPowerCap
    with nvidia() as driver:
        assert driver is not None
        state = driver.state(UUID)
        assert state is not None
        assert (state.processes, state.utilisation, state.sm_mhz) == (frozenset({11, 12}), 0.37, 1980)
        assert (state.memory_mhz, state.temperature_c) == (2619, 41)
        assert (state.thermal, state.power_capped) == (("thermal slowdown by the driver",), True)
        assert driver.state("GPU-none") is None
        board.absent = {"processes", "utilisation", "clocks", "temperature", "reasons"}
        state = driver.state(UUID)
        assert state is not None
        assert (state.processes, state.utilisation, state.sm_mhz) == (frozenset(), None, None)
        assert state.power_capped  # by the call's newer name


def watched(folder: Path, **thresholds: float) -> object:
    gpus = inventory().gpus[:1]
    with (
        leased(Request(0, 1), folder=folder / "locks", offered=Inventory(gpus=gpus)) as lease,
        lease.watched(Thresholds(**thresholds)) as watch,  # type: ignore[arg-type]
    ):
        assert lease.hold.environment == {"CUDA_VISIBLE_DEVICES": UUID}
        time.sleep(0.3)
    return watch.report()


@pytest.fixture
def in_first_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    number = Path("/proc/self/ns/pid").stat().st_ino
    monkeypatch.setattr("raysearch.devices.watch.FIRST_NAMESPACE", number)


def test_a_gpu_alone_holds(board: Board, stub: Stub, in_first_namespace: None, tmp_path: Path) -> None:
    board.processes = [os.getpid()]  # a benchmark in this process
    board.reasons = pynvml.nvmlClocksEventReasonSwPowerCap | pynvml.nvmlClocksEventReasonGpuIdle
    with subprocess.Popen(["sleep", "60"]) as child:
        board.processes += [child.pid, 2**22 + 1]  # the last has ended meanwhile
        report = watched(tmp_path)
        child.kill()
    assert report.reasons == ()
    name = f"gpu-{UUID.removeprefix('GPU-')}"
    assert report.conditions() | {"sensed": "", "load": ""} == {
        "sensed": "",
        "load": "",
        f"{name}.sm_mhz": "1980 (1980-1980)",
        f"{name}.temperature_c": "41",
        f"{name}.power_capped": "100%",
    }


def test_another_process_on_the_gpu_makes_it_void(
    board: Board, stub: Stub, in_first_namespace: None, tmp_path: Path
) -> None:
    board.processes = [1]
    report = watched(tmp_path)
    with pytest.raises(Void, match="had other processes: 1"):
        report.require()


def test_numbers_of_processes_mean_nothing_in_a_container(
    board: Board, stub: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("raysearch.devices.watch.FIRST_NAMESPACE", 0)
    board.processes = [1]
    assert watched(tmp_path).reasons == ()
    board.utilisation = 50
    with pytest.raises(Void, match="50% busy before"):
        watched(tmp_path).require()


def test_a_gpu_that_is_slowed_makes_it_void(board: Board, stub: Stub, tmp_path: Path) -> None:
    board.reasons = pynvml.nvmlClocksEventReasonHwThermalSlowdown
    with pytest.raises(Void, match="100% of the samples: thermal slowdown by the hardware"):
        watched(tmp_path).require()
    assert watched(tmp_path, gpu_thermal_share=1.0).reasons == ()


def test_provenance_of_a_gpu(stub: Stub) -> None:
    told = provenance([Gpu(UUID, 0, "NVIDIA H100 80GB HBM3")])
    assert told["gpu"] == f"{UUID} NVIDIA H100 80GB HBM3"
    assert (told["gpu_driver"], told["gpu_mhz_max"]) == ("570.86.15", "1980")
