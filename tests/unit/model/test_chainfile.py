"""Every mistake in a chain file is reported with its line, its key and the right form."""

from __future__ import annotations

from collections.abc import Mapping
from signal import SIGTERM
from textwrap import dedent

import pytest
from pydantic import Field

from changeover.model import chainfile
from changeover.model.affinity import AffinityRule
from changeover.model.chain import Chain
from changeover.model.config_model import ConfigModel
from changeover.model.errors import ChangeoverError
from changeover.model.hop_traits import HopTraits
from changeover.model.units import Bytes, Seconds


class Route(ConfigModel):
    path: str = "/"


class WebSettings(ConfigModel):
    timeout: Seconds = 60.0
    body_size: Bytes = Field(0, validate_default=True)
    routes: tuple[Route, ...] = ()
    headers: Mapping[str, str] = {}


class AppSettings(ConfigModel):
    version: str = ""


SCHEMAS: dict[str, type[ConfigModel]] = {"web": WebSettings, "web-stream": WebSettings, "app": AppSettings}
HOPS = {
    kind: HopTraits(kind, schema, takes="http", ready_path="/", stop_signal=SIGTERM, passes_on=kind == "web-stream")
    for kind, schema in SCHEMAS.items()
}


def read(text: str) -> chainfile.ParsedChain:
    return chainfile.read(dedent(text), "chain.yaml", HOPS)


def problems(text: str) -> list[str]:
    with pytest.raises(ChangeoverError) as reported:
        read(text)
    assert reported.value.exit_code == 2
    return [str(problem) for problem in reported.value.problems]


def tier(text: str) -> str:
    """A chain of one tier, which begins on line 2; `text` on line 3 and after."""
    return "tiers:\n  - name: edge\n" + "".join(f"    {line}\n" for line in dedent(text).strip().splitlines())


GOOD = tier("kind: app\ntemplates: {v1: {}}")


def test_a_good_file_gives_a_chain_and_its_settings() -> None:
    reported = read(tier("kind: web\nsize: 3\ntemplates:\n  v1: {timeout: 2m}\n  v2: {body_size: 50MB}"))
    assert [(tier.name, tier.kind, tier.size) for tier in reported.chain.tiers] == [("edge", "web", 3)]
    assert reported.settings["edge"]["v1"] == WebSettings(timeout="2m")
    assert reported.settings["edge"]["v2"] == WebSettings(body_size=50_000_000)


@pytest.mark.parametrize(
    ("given", "affinity"),
    [
        ("none", AffinityRule()),
        ("client-ip", AffinityRule("client-ip")),
        ("{cookie: connect.sid}", AffinityRule("cookie", "connect.sid")),
        ("{header: X-User}", AffinityRule("header", "X-User")),
    ],
)
def test_affinity_is_a_word_or_has_a_name_and_is_written_as_it_is_read(given: str, affinity: AffinityRule) -> None:
    chain = read(tier(f"kind: app\ntemplates: {{v1: {{}}}}\naffinity: {given}")).chain
    assert chain.tiers[0].affinity == affinity
    assert Chain.model_validate(chain.model_dump(mode="json")) == chain


# -- what a key may hold -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kind: app\ntemplates: {v1: {}}\nsise: 3", "chain.yaml:5: tiers.0.sise: no such key\n  Did you mean size? "),
        (
            "kind: app\ntemplates: {v1: {}}\ndrain:\n  polcy: cut",
            "chain.yaml:6: tiers.0.drain.polcy: no such key\n"
            "  Did you mean policy? There are: deadline, idle_after, long_lived, policy.",
        ),
        (
            "kind: app\ntemplates:\n  v1: {versoin: x}",
            "chain.yaml:5: tiers.0.templates.v1.versoin: no such key\n  Did you mean version? There are: version.",
        ),
        (
            "kind: web\ntemplates:\n  v1:\n    routes:\n      - paht: /",
            "chain.yaml:7: tiers.0.templates.v1.routes.0.paht: no such key\n  Did you mean path? There are: path.",
        ),
        ("templates: {v1: {}}", "chain.yaml:2: tiers.0.kind: this key is missing"),
        (
            "kind: wbe\ntemplates: {v1: {}}",
            "chain.yaml:3: tiers.0.kind: no kind of tier is named wbe\n  Did you mean web?",
        ),
        (
            "kind: mainframe\ntemplates: {v1: {}}",
            "chain.yaml:3: tiers.0.kind: no kind of tier is named mainframe\n  There are: app, web, web-stream.",
        ),
        ("kind: app\ntemplates: {v1: {}}\nsize: two", "chain.yaml:5: tiers.0.size: Input should be a valid integer"),
        (
            "kind: app\ntemplates: {v1: {}}\nsize: 0",
            "chain.yaml:5: tiers.0.size: Input should be greater than or equal to 1 (not 0)",
        ),
        (
            "kind: app\ntemplates: {v1: {}}\ndrain: {deadline: 30}",
            "chain.yaml:5: tiers.0.drain.deadline: a time with its unit is needed, such as 500ms, 30s, 2m or 1h",
        ),
        (
            "kind: app\ntemplates: {v1: {}}\ndrain: {policy: kill}",
            "chain.yaml:5: tiers.0.drain.policy: Input should be 'wait' or 'cut' (not 'kill')",
        ),
        (
            "kind: app\ntemplates: {v1: {}}\nupdate: {max_surge: 25.5%}",
            "chain.yaml:5: tiers.0.update.max_surge: a whole number of instances or a percentage is needed",
        ),
        (
            "kind: app\ntemplates: {v1: {}}\nupdate: {max_surge: 0, max_unavailable: 0}",
            "chain.yaml:2: tiers.0: max_surge and max_unavailable are both 0 instances of 2: nothing could ever be "
            "replaced. Set max_surge to 1 or more",
        ),
        (
            "kind: app\ntemplates: {v1: {}}\nupdate:\n  steps: [{set_weight: 60}, {pause: 1s}, {set_weight: 10}]",
            "chain.yaml:6: tiers.0.update.steps: step 3 falls to 10 % from 60 %: shares may only rise. Put the steps "
            "in order; traffic goes back with `changeover abort`",
        ),
        (
            "kind: app\ntemplates: {v1: {}}\naffinity: sticky",
            "chain.yaml:5: tiers.0.affinity: one of none, client-ip, {cookie: NAME} and {header: NAME} is needed",
        ),
        (
            "kind: app\ntemplates: {v1: {}}\naffinity: {cookie: a b}",
            "chain.yaml:5: tiers.0.affinity: one of none, client-ip, {cookie: NAME} and {header: NAME} is needed",
        ),
        (
            "kind: app\ntemplates: {v1: {}}\naffinity: {cookie: a, header: b}",
            "chain.yaml:5: tiers.0.affinity: one of none, client-ip, {cookie: NAME} and {header: NAME} is needed",
        ),
        (
            "kind: web\ntemplates:\n  v1: {body_size: 5XB}",
            "chain.yaml:5: tiers.0.templates.v1.body_size: a size is needed, such as 50MB, 1GiB or a whole number of "
            "bytes",
        ),
        ("kind: app\ntemplates: {V1: {}}", "chain.yaml:4: tiers.0.templates.V1"),
        ("kind: app\ntemplates: {}", "chain.yaml:4: tiers.0.templates: "),
        ("kind: app\ntemplates: 3", "chain.yaml:4: tiers.0.templates: a mapping of keys is needed, not a number"),
        (
            "kind: app\ntemplates:\n  v1:",
            "chain.yaml:5: tiers.0.templates.v1: a mapping of keys is needed, not nothing",
        ),
        (
            "kind: web\ntemplates:\n  v1: {routes: /}",
            "chain.yaml:5: tiers.0.templates.v1.routes: a list is needed",
        ),
        (
            "kind: web\ntemplates:\n  v1: {headers: {X-Number: 1}}",
            "chain.yaml:5: tiers.0.templates.v1.headers.X-Number: Input should be a valid string (not 1)",
        ),
    ],
)
def test_a_wrong_value_is_reported_with_its_line_its_key_and_the_right_form(text: str, problem: str) -> None:
    (reported,) = problems(tier(text))
    assert reported.startswith(problem)


def test_all_problems_are_reported_at_once_also_of_several_templates() -> None:
    text = tier("kind: app\ntemplates:\n  v1: {versio: x}\n  v2: {version: [1]}")
    assert [problem.split(":")[1] for problem in problems(text)] == ["5", "6"]


def test_a_list_whose_only_item_is_wrong_is_not_called_empty_too() -> None:
    assert len(problems(tier("kind: app\ntemplates: {v1: {}}\nsize: 0"))) == 1


def test_a_list_that_is_empty_is_called_so() -> None:
    assert problems("tiers: []") == ["chain.yaml:1: tiers: Tuple should have at least 1 item after validation, not 0"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "chain.yaml: the file is empty\n  `changeover schema` shows what belongs in it."),
        ("# nothing yet\n", "chain.yaml: the file is empty\n  `changeover schema` shows what belongs in it."),
        ("42", "chain.yaml:1: a mapping of keys is needed, not a number"),
        ("- edge", "chain.yaml:1: a mapping of keys is needed, not a list"),
        ("name: chain", "chain.yaml:1: tiers: this key is missing"),
        ("tiers: edge", "chain.yaml:1: tiers: a list is needed, not text"),
        ("name: x\nlisten: 8443\n" + GOOD, "chain.yaml:2: listen: Input should be a valid string (not 8443)"),
        ("name: x\nlisten: here\n" + GOOD, "chain.yaml:2: listen: an address is needed, such as 127.0.0.1:8443"),
    ],
)
def test_a_problem_of_the_whole_file_is_reported_too(text: str, problem: str) -> None:
    (reported,) = problems(text)
    assert reported.startswith(problem)


def test_two_tiers_of_one_name_are_refused() -> None:
    one = "  - {name: edge, kind: app, templates: {v1: {}}}\n"
    assert problems("tiers:\n" + one + one) == ["chain.yaml:1: two tiers are named edge; each needs a name of its own"]


# -- what YAML may hold --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "chain.yaml:1: this is not YAML: "),
        ("a: b\n c: d", "chain.yaml:2: this is not YAML: "),
        ("a: \x00", "chain.yaml: this is not YAML: "),
        ("---\na: 1\n---\nb: 2", "chain.yaml:3: this is not YAML: "),
        ("a: 1\nb: !vault secret", "chain.yaml:2: this is not YAML: could not determine a constructor for the tag"),
        ("a: 1\n<<: 3", "chain.yaml:2: this is not YAML: expected a mapping or list of mappings for merging"),
        ("a: *nobody", "chain.yaml:1: this is not YAML: found undefined alias"),
        ("a: 1\nb: 2024-13-45", "chain.yaml:2: a value that looks like a number or a date cannot be read"),
        ("a: 1\n? [x, y]\n: z", "chain.yaml:2: a list or a mapping cannot be a key"),
        ("&a [*a]", "chain.yaml: this is nested too deeply, or in itself"),
    ],
)
def test_text_that_is_not_yaml_is_reported_with_its_line(text: str, problem: str) -> None:
    (reported,) = problems(text)
    assert reported.startswith(problem)


def test_a_key_that_is_given_twice_is_refused_and_both_places_are_named() -> None:
    assert problems(tier("kind: app\ntemplates:\n  v1: {}\n  v1: {}")) == [
        "chain.yaml:6: v1 is given twice, first on line 5\n  Take one of them out."
    ]


def test_a_merged_template_says_what_the_other_says_but_for_its_own_keys() -> None:
    reported = read(
        tier("""
            kind: web
            templates:
              v1: &v1 {timeout: 1s, body_size: 1MB}
              v2: {<<: *v1, timeout: 2s}
              v3: {timeout: 3s, <<: *v1}
        """)
    )
    assert reported.settings["edge"] == {
        "v1": WebSettings(timeout="1s", body_size="1MB"),
        "v2": WebSettings(timeout="2s", body_size="1MB"),
        "v3": WebSettings(timeout="3s", body_size="1MB"),
    }


def test_a_merged_template_can_be_merged_or_repeated_again() -> None:
    reported = read(
        tier("""
            kind: web
            templates:
              v1: &v1 {timeout: 1s}
              v2: &v2 {<<: *v1, timeout: 2s}
              v3: *v2
              v4: {<<: *v2, body_size: 4MB}
        """)
    )
    assert reported.settings["edge"]["v3"] == WebSettings(timeout="2s")
    assert reported.settings["edge"]["v4"] == WebSettings(timeout="2s", body_size="4MB")


def test_a_mistake_in_a_merged_part_is_reported_where_it_stands() -> None:
    text = tier("""
        kind: web
        templates:
          v1: &v1
            timeout: 1s
            body_sise: 1MB
          v2: {<<: *v1, timeout: 2s}
    """)
    assert [problem.splitlines()[0] for problem in problems(text)] == [
        "chain.yaml:7: tiers.0.templates.v1.body_sise: no such key",
        "chain.yaml:7: tiers.0.templates.v2.body_sise: no such key",
    ]
