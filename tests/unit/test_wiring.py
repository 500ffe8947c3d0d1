"""A chain file from disk, checked against every registered hop."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover import chain_files, wiring
from changeover.hops import registry
from changeover.model import chainfile
from changeover.model.errors import ChangeoverError
from changeover.platforms.local import tls

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(ROOT.glob("examples/*/chain.yaml"))


def reported(file: Path) -> str:
    with pytest.raises(ChangeoverError) as error:
        chain_files.read_chain(file)
    assert error.value.exit_code == 2
    return str(error.value)


def write(folder: Path, *tiers: str) -> Path:
    """A chain of tiers `name: kind`."""
    file = folder / "chain.yaml"
    lines = ["  - {name: %s, kind: %s, templates: {v1: {}}}" % tuple(tier.split(": ")) for tier in tiers]  # noqa: UP031
    file.write_text("\n".join(["tiers:", *lines]))
    return file


# -- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_the_examples_are_chains(file: Path) -> None:
    read, text = chain_files.read_chain(file)
    copied = chainfile.read(text, "copy", registry.known_hops())
    assert copied.settings == read.settings
    for tier in read.chain.tiers:
        assert set(read.settings[tier.name]) == set(tier.templates)


def test_a_chain_file_that_names_no_files_is_kept_word_for_word() -> None:
    file = ROOT / "examples/01-four-tiers/chain.yaml"
    assert chain_files.read_chain(file)[1] == file.read_text(encoding="utf-8")


def test_a_certificate_that_does_not_fit_its_key_is_refused_and_does_not_hide_the_chain(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tls.ensure(tmp_path / name)
    file = write(tmp_path, "edge: nginx", "runtime: app")
    given = file.read_text()

    def checked(key: str) -> None:
        template = "{v1: {tls: {certificate: a/edge.pem, key: %s}}}" % key  # noqa: UP031
        file.write_text(given.replace("{v1: {}}", template, 1))
        found = wiring.wire(file, tmp_path / "state")
        found.check_configurations({"edge": "v1"})

    checked("a/edge.key")
    with pytest.raises(ChangeoverError, match="the key does not belong to the certificate"):
        checked("b/edge.key")
    with pytest.raises(ChangeoverError, match="No such file"):
        checked("lost.key")
    assert chain_files.read_chain(file)


def test_an_nginx_is_the_last_tier_with_a_configuration_of_ones_own_alone(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text("events {} http { server { listen CHANGEOVER_LISTEN; return 204; } }")
    file = write(tmp_path, "edge: nginx")
    with pytest.raises(ChangeoverError, match="edge is the last tier"):
        chain_files.read_chain(file)
    file.write_text(file.read_text().replace("{v1: {}}", "{v1: {config: nginx.conf}}"))
    assert chain_files.read_chain(file)[0].settings["edge"]


def test_templates_of_the_first_tier_that_take_different_things_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "edge: nginx", "runtime: app")
    file.write_text(file.read_text().replace("{v1: {}}", "{v1: {}, v2: {tls: false}}", 1))
    with pytest.raises(ChangeoverError, match="v1 takes tls, v2 takes http"):
        chain_files.read_chain(file)


def test_the_first_example_is_the_chain_of_the_readme() -> None:
    read, _ = chain_files.read_chain(ROOT / "examples/01-four-tiers/chain.yaml")
    assert [(tier.name, tier.kind) for tier in read.chain.tiers] == [
        ("edge", "nginx"),
        ("l4", "nginx-stream"),
        ("gateway", "envoy"),
        ("runtime", "app"),
    ]


def test_what_is_wrong_between_tiers_is_reported_with_its_line(tmp_path: Path) -> None:
    file = write(tmp_path, "edge: nginx", "gateway: envoy")
    assert reported(file) == (
        f"{file}:3: tiers.1.kind: envoy sends requests to the tier behind it, and gateway is the last tier\n"
        "  End the chain with a tier of kind app."
    )


def test_a_file_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "nowhere.yaml"
    assert reported(file) == f"{file}: the chain file cannot be read: No such file or directory\n  Name one with -f."


def test_a_file_that_is_not_text_is_named_too(tmp_path: Path) -> None:
    file = tmp_path / "chain.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    assert "the chain file cannot be read: it is not text" in reported(file)


def test_a_mistake_in_a_file_is_reported_with_its_path_and_line(tmp_path: Path) -> None:
    file = write(tmp_path, "edge: ngnix", "runtime: app")
    assert reported(file).startswith(f"{file}:2: tiers.0.kind: no kind of tier is named ngnix\n  Did you mean nginx?")
