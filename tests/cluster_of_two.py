"""A Ray of two nodes on this machine, in a process of its own: prints its address, then obeys lines on stdin.

``lose``: SIGKILL of the second node's raylet. ``join``: a new second node. ``behead``: SIGKILL of the head's
raylet and of the cluster's control service.
End of input: shut down.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import ray
from ray.cluster_utils import Cluster


def end(node: object, kind: str) -> None:
    processes = node.all_processes[kind]  # type: ignore[attr-defined]
    os.kill(int(processes[0].process.pid), signal.SIGKILL)


def main() -> None:
    folder = tempfile.mkdtemp(prefix="rs-")
    Path("/tmp/ray").mkdir(exist_ok=True)  # where Ray notes a cluster's address, whatever its own folder is
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "temp_dir": folder})
    second = cluster.add_node(num_cpus=2)
    print(cluster.address, flush=True)
    for line in sys.stdin:
        match line.strip():
            case "lose":
                end(second, "raylet")
            case "join":
                second = cluster.add_node(num_cpus=2)
            case "behead":
                end(cluster.head_node, "gcs_server")
                end(cluster.head_node, "raylet")
        print("done", flush=True)
    cluster.shutdown()
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


main()
