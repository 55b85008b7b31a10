"""Whole small projects: the repository's tracked files in a folder of their own, with little data and a tiny backbone.

A pipeline of such a project takes little beyond the start-up of its stages' processes.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from evergreen.params_file import edit_params

ROOT = Path(__file__).parents[1]
SOURCE = Path("examples/inbox/2025-01_to_2025-08.csv")
ROWS = 320
HIDDEN = 32
LAYERS = 2
POSITIONS = 64
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Little of everything; nothing else differs from the project's own params.yaml.
SMALL = {
    "validate.min_rows_per_label": 2,
    "finetune.backbone.revision": None,
    "finetune.epochs": 8,
    "finetune.patience": 0,
    "finetune.learning_rate": 5e-3,
    "finetune.max_tokens": POSITIONS,
    "finetune.precision": "fp32",
    "finetune.device": "cpu",
    "finetune.threads": 1,
    "finetune.checkpoint_steps": 3,
    "compress.parity_rows": 20,
    "compress.latency_requests": 10,
    "compress.threads": 1,
    "evaluate.resamples": 200,
    "audit.resamples": 200,
}
PATIENCE = 240  # seconds; a busy machine is slow, and a hang must end
DVC = (sys.executable, "-m", "dvc")
IDENTITY = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org"}


def small_project(folder: Path, **changes: Any) -> Path:
    """Make a project in the folder, committed and not yet run; `changes` are further edits of params.yaml, `__` for a dot."""
    tracked = git(ROOT, "ls-files", "-z").split("\0")
    for name in filter(None, tracked):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    rows = pd.read_csv(ROOT / SOURCE, dtype=str, nrows=ROWS)
    rows.to_csv(folder / SOURCE, index=False)
    digest = tiny_backbone(folder / "backbone", rows["text"].tolist())
    given = {name.replace("__", "."): value for name, value in changes.items()}
    local = {"finetune.backbone.source": "./backbone", "finetune.backbone.sha256": digest}
    edit_params(folder / "params.yaml", {**SMALL, **local, **given})
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=A small project")
    return folder


def copied(project: Path, folder: Path) -> Path:
    """Copy a project with all that it has made, its DVC cache included; what is true of the one is true of the other."""
    shutil.copytree(project, folder, symlinks=True)
    return folder


def environment(project: Path) -> dict[str, str]:
    """Return an environment for commands in a project: this interpreter first, all state of every tool beside the project."""
    state = project.with_name(f"{project.name}-state")
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "BENTOML_", "EVERGREEN_", "DVC_", "GIT_"))
    }
    return {
        **kept,
        **IDENTITY,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(state / "home"),
        "HF_HOME": str(state / "hub"),
        "DVC_SITE_CACHE_DIR": str(state / "dvc"),
        "DVC_GLOBAL_CONFIG_DIR": str(state / "dvc-config"),
        "DVC_SYSTEM_CONFIG_DIR": str(state / "dvc-config"),
        "DVC_NO_ANALYTICS": "1",
        "COLUMNS": "160",
    }


def command(project: Path, *words: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a project, with more variables of the environment; with `check`, a failure shows what it said."""
    told = environment(project) | variables
    done = subprocess.run(words, cwd=project, env=told, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done


def dvc(project: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run DVC in a project."""
    return command(project, *DVC, *words, **options)


def evergreen(project: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the project's own command line in a project."""
    return command(project, sys.executable, "-m", "flows", *words, **options)


def commit_params(project: Path, changes: Mapping[str, Any]) -> None:
    """Change settings, and commit them: runs go by what is committed."""
    edit_params(project / "params.yaml", changes)
    git(project, "commit", "--all", "--quiet", "--message=settings")


def git(folder: Path, *words: str) -> str:
    """Run git in a folder and return what it said."""
    told = {**os.environ, **IDENTITY, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return subprocess.run(["git", *words], cwd=folder, env=told, capture_output=True, text=True, check=True).stdout


def parents(folder: Path, commit: str | None) -> list[str]:
    """The parents of a commit, the first one first."""
    assert commit is not None
    return git(folder, "rev-list", "--no-walk", "--parents", commit).split()[1:]


def until(happens: Callable[[], bool]) -> None:
    """Wait for something; fail when it does not come."""
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < deadline, f"it did not happen within {PATIENCE} s"
        time.sleep(0.002)


def outputs(project: Path) -> dict[str, str]:
    """Return the hash of every output, as dvc.lock records it."""
    stages = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


# Outputs that no second run repeats, and why. Every other output has the same bytes in every run of the same tuple.
TIMED = {
    "runs/": "how long each stage took, and when",
    "reports/latency.json": "measured times",
    "reports/verdict.json": "quotes the latency",
    "reports/provenance.json": "durations, cost and energy",
    "reports/MODEL_CARD.md": "quotes the verdict and the durations",
    "reports/dossier.html": "quotes the verdict and the durations",
    "build/bento": "carries the card and the dossier",
}


def steady(project: Path) -> dict[str, str]:
    """Return the hashes of the outputs that every run of one tuple repeats."""
    return {path: digest for path, digest in outputs(project).items() if not path.startswith(tuple(TIMED))}


def partials(project: Path) -> list[Path]:
    """Return what stages left unfinished beside their outputs."""
    return [path for path in project.rglob(".*.partial*") if ".git" not in path.parts]


def tiny_backbone(folder: Path, texts: list[str]) -> str:
    """Write a BERT of random weights, 2 layers of 32, with a vocabulary of the texts' words; return its weights' sha256."""
    folder.mkdir()
    tokenizer = _tokenizer(texts)
    tokenizer.save(str(folder / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    config = {
        "architectures": ["BertModel"], "model_type": "bert", "vocab_size": size, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": 2, "intermediate_size": 2 * HIDDEN, "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "layer_norm_eps": 1e-12, "pad_token_id": 0,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": POSITIONS, **names}), encoding="utf-8"
    )
    save_file(_weights(size), folder / "model.safetensors", metadata={"format": "pt"})
    return sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def _tokenizer(texts: list[str]) -> Tokenizer:
    words = Counter(word for text in texts for word in re.findall(r"[a-z]+", text.lower()))
    letters = sorted({letter for word in words for letter in word})
    common = sorted(word for word, count in words.items() if count > 2 and len(word) > 1)
    entries = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *common]
    tokenizer = Tokenizer(models.WordPiece({entry: place for place, entry in enumerate(entries)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _weights(size: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(17)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (size, HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
        "pooler.dense.weight": (HIDDEN, HIDDEN),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in (f"encoder.layer.{number}" for number in range(LAYERS)):
        square = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
        shapes |= {f"{layer}.{name}.weight": (HIDDEN, HIDDEN) for name in square}
        shapes |= {f"{layer}.intermediate.dense.weight": (2 * HIDDEN, HIDDEN), f"{layer}.output.dense.weight": (HIDDEN, 2 * HIDDEN)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    weights = {name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    biases = {
        name.replace("weight", "bias"): np.zeros(shape[0], np.float32)
        for name, shape in shapes.items()
        if "dense" in name or "self" in name
    }
    ones = {f"{name}.weight": np.ones(HIDDEN, np.float32) for name in norms}
    zeros = {f"{name}.bias": np.zeros(HIDDEN, np.float32) for name in norms}
    return weights | biases | ones | zeros
