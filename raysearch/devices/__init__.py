"""Devices of this machine: one measurement has them to itself, and it is seen whether it had.

`leased` holds cores and GPUs that no other search on the machine holds; `Lease.watched` looks around meanwhile, and its
`Contention` says whether the measurement is void; `aside` keeps other work away. docs/devices.md has the reasons.
"""

from raysearch.devices.contention import Contention, GpuContention, Thresholds
from raysearch.devices.inventory import Apple, Core, Device, Gpu, Inventory, inventory
from raysearch.devices.leases import Lease, Request, aside, leased
from raysearch.devices.measuring import Leasing, Measuring, Session
from raysearch.devices.watch import Watch

__all__ = [
    "Apple",
    "Contention",
    "Core",
    "Device",
    "Gpu",
    "GpuContention",
    "Inventory",
    "Lease",
    "Leasing",
    "Measuring",
    "Request",
    "Session",
    "Thresholds",
    "Watch",
    "aside",
    "inventory",
    "leased",
]
