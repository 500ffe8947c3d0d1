"""HAProxy's configuration, its commands, and what counts as confirmed. Answers were recorded from HAProxy 2.6.12."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from changeover.haproxy.runtime_api import RuntimeApi
from changeover.model.chain import Chain, Tier
from changeover.model.errors import ChangeoverError
from changeover.model.instance import Address, Instance
from changeover.model.readiness import Readiness
from changeover.platforms.local.haproxy import HaproxyPreview, HaproxyRouter, config, most_connections
from changeover.ports import Broken, Membership, Unknown

AT_READYZ = Readiness(path="/readyz")
WEB = Instance("web-v1-1", "web", "v1", Address("127.0.0.1", 25556), Address("127.0.0.1", 25557))

STATE = (
    "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr "
    "srv_agent_addr srv_agent_port\n"
)
STAT = (
    "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,"
    "bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,"
    "check_status,check_code,check_duration,hrsp_1xx,\n"
)
"""Shortened at the end: HAProxy goes on with 60 columns that no code here reads."""


def test_the_connections_it_is_given_follow_from_the_files_that_a_process_may_open() -> None:
    tier = Tier.model_validate({"name": "web", "kind": "app", "size": 3, "templates": {"v1": {}}})
    chain = Chain(tiers=(tier,))
    assert most_connections(chain, 1 << 20) == 8192
    assert most_connections(chain, 4096) == (4096 - 128 - 4) // 2
    assert most_connections(chain, 644) == 256
    with pytest.raises(ChangeoverError, match=r"may open 643 files here, and HAProxy needs 644[^\0]*ulimit -Hn"):
        most_connections(chain, 643)


def state_row(name: str, operational: int, administrative: int, weight: int = 1) -> str:
    return (
        f"2 web 1 {name} 127.0.0.1 {operational} {administrative} {weight} 1 0 15 3 2 6 0 0 0 - 25556 - 0 25557 "
        "127.0.0.1 127.0.0.1 25556\n"
    )


def stat_row(name: str, status: str, check: str, sessions: int = 0, queued: int | str = 0) -> str:
    counts = f"{queued},0,{sessions},1,,1,0,0,,0,,0,0,0,0"
    return f"web,{name},{counts},{status},1,1,0,0,0,0,0,,1,2,1,,0,,2,0,,0,{check},200,1,,\n"


class Recorded(RuntimeApi):
    """Gives the answers that a test sets, and records the commands."""

    def __init__(self, state: str = STATE + "\n", stat: str = STAT + "\n", **answers: str) -> None:
        self.answers = {
            "show servers state": state,
            "show stat": stat,
            "show info": "node: here\nPid: 7\nStart_time_sec: 100\n",
            **{k.replace("_", " "): v for k, v in answers.items()},
        }
        self.asked: list[str] = []

    async def ask(self, command: str) -> str:
        self.asked.append(command)
        for beginning, answer in self.answers.items():
            if command.startswith(beginning):
                return answer
        return "\n"

    @property
    def changes(self) -> list[str]:
        return [command for command in self.asked if not command.startswith("show")]


def lists(
    name: str = WEB.name,
    *,
    operational: int = 2,
    administrative: int = 0,
    weight: int = 1,
    status: str = "UP",
    check: str = "L7OK",
    sessions: int = 0,
    queued: int | str = 0,
) -> Recorded:
    """A listener with that one member."""
    state = state_row(name, operational, administrative, weight)
    return Recorded(f"{STATE}{state}\n", f"{STAT}{stat_row(name, status, check, sessions, queued)}\n")


def tier(affinity: str | dict[str, str] = "none") -> Tier:
    health = {"interval": "250ms", "rise": 3, "fall": 4}
    given = {"name": "web", "kind": "app", "templates": {"v1": {}}, "health": health, "affinity": affinity}
    return Tier.model_validate(given)


def run(api: RuntimeApi, step: Callable[[HaproxyRouter], Any]) -> Any:
    return asyncio.run(step(HaproxyRouter(api, tier(), "web")))


def membership(api: RuntimeApi, name: str = WEB.name) -> Membership:
    found: Membership = run(api, lambda router: router.membership(frozenset([name])))[name]
    return found


# -- the configuration ---------------------------------------------------------------------------------------------


def chain() -> Chain:
    tier = {"kind": "app", "templates": {"v1": {}}}
    return Chain.model_validate(
        {
            "tiers": [
                {"name": "edge", **tier, "health": {"timeout": "750ms"}},
                {"name": "l4", **tier},
                {"name": "in", **tier},
            ]
        }
    )


def sections(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith(" "):
            found[line] = current = []
        elif line:
            current.append(line.strip())
    return found


CONFIG = sections(
    config(
        chain(),
        {"edge": Address("127.0.0.1", 8443), "l4": Address("127.0.0.1", 20001)},
        {"edge": AT_READYZ, "l4": Readiness(path="/ready"), "in": AT_READYZ},
    )
)


def test_every_tier_with_an_entry_has_a_listener_there_and_no_other_has() -> None:
    listeners = {name: lines for name, lines in CONFIG.items() if name.startswith("listen")}
    assert list(listeners) == ["listen edge", "listen l4"]
    assert "bind 127.0.0.1:8443" in listeners["listen edge"]
    assert "bind 127.0.0.1:20001" in listeners["listen l4"]


def test_members_are_asked_where_their_hop_answers_and_for_as_long_as_their_tier_says() -> None:
    assert (
        "http-check send meth GET uri '/readyz' ver HTTP/1.1 hdr Host 'edge' hdr User-Agent 'changeover'"
        in CONFIG["listen edge"]
    )
    assert "timeout check 750ms" in CONFIG["listen edge"]
    assert (
        "http-check send meth GET uri '/ready' ver HTTP/1.1 hdr Host 'l4' hdr User-Agent 'changeover'"
        in CONFIG["listen l4"]
    )
    assert "timeout check 2000ms" in CONFIG["listen l4"]


def checks_with(**health: Any) -> list[str]:
    given = {"name": "web", "kind": "app", "templates": {"v1": {}}, "health": health}
    tier = Tier.model_validate(given)
    asked = {"web": tier.health.question("/up")}
    found = sections(config(Chain(tiers=(tier,)), {"web": Address("127.0.0.1", 8443)}, asked))
    return [line for line in found["listen web"] if "http" in line]


def test_members_are_asked_for_what_the_chain_file_says_of_their_tier() -> None:
    headers = {"host": "shop.example", "X-Token": "it's 100%"}
    assert checks_with(status=[200, 204], headers=headers, body='say "up"') == [
        "option httpchk",
        "http-check send meth GET uri '/up' ver HTTP/1.1 hdr Host 'shop.example' hdr User-Agent 'changeover' "
        "hdr X-Token 'it'\\''s 100%%'",
        "http-check expect status 200,204",
        "http-check expect string 'say \"up\"'",
    ]
    assert checks_with()[-1] == "http-check expect status 200"


def test_checks_of_a_tier_that_is_ready_when_it_accepts_connections_only_connect() -> None:
    assert checks_with(tcp=True) == []
    assert membership(lists(check="L4OK")).admitted


def test_it_passes_bytes_and_cuts_no_silent_connection() -> None:
    assert "mode tcp" in CONFIG["defaults"]
    assert {"timeout client 24d", "timeout server 24d"} <= set(CONFIG["defaults"])


def test_a_preview_listens_at_an_address_of_its_own_and_answers_503_while_it_is_empty() -> None:
    entries = {"in.preview": Address("127.0.0.1", 20002)}
    reported = sections(config(chain(), entries, {"edge": AT_READYZ, "l4": Readiness(path="/ready"), "in": AT_READYZ}))
    assert "bind 127.0.0.1:20002" in reported["frontend in.preview.address"]
    assert "default_backend in.preview" in reported["frontend in.preview.address"]
    assert any(line.startswith("http-check send meth GET uri '/readyz'") for line in reported["backend in.preview"])
    assert any("status 503" in line for line in reported["backend in.preview.empty"])
    assert "listen in" not in reported


def test_only_its_owner_may_command_it() -> None:
    assert "stats socket unix@haproxy.sock mode 600 level admin" in CONFIG["global"]


# -- commands -----------------------------------------------------------------------------------------------------


CHECKS = "inter 250ms fastinter 250ms downinter 250ms rise 3 fall 4"


def test_a_new_member_is_added_with_its_checks_and_then_let_in() -> None:
    api = Recorded(add_server="New server registered.\n\n")
    run(api, lambda router: router.admit(WEB, 100))
    assert api.changes == [
        f"add server web/web-v1-1 127.0.0.1:25556 check addr 127.0.0.1 port 25557 {CHECKS}",
        "set server web/web-v1-1 weight 100",
        "enable health web/web-v1-1",
        "set server web/web-v1-1 state ready",
    ]


def test_a_member_at_a_unix_socket_is_reached_and_checked_there() -> None:
    api = Recorded(add_server="New server registered.\n\n")
    run(api, lambda router: router.admit(replace(WEB, socket="/its state/app.sock"), 100))
    assert api.changes[0] == f"add server web/web-v1-1 unix@/its\\ state/app.sock check {CHECKS}"


def test_a_member_that_comes_back_is_only_let_in_again() -> None:
    api = lists(administrative=8, status="DRAIN")
    run(api, lambda router: router.admit(WEB, 7))
    assert api.changes == [
        "set server web/web-v1-1 weight 7",
        "enable health web/web-v1-1",
        "set server web/web-v1-1 state ready",
    ]


def test_what_leaves_gets_nothing_new_and_keeps_what_it_has() -> None:
    api = lists()
    run(api, lambda router: router.remove(WEB))
    assert api.changes == ["set server web/web-v1-1 state drain"]


def test_a_member_with_clients_of_its_own_gets_a_cookie_and_loses_them_when_it_leaves() -> None:
    api = Recorded(add_server="New server registered.\n\n")
    listed = lists()
    for given, step in ((api, "admit"), (listed, "remove")):
        router = HaproxyRouter(given, tier({"cookie": "route"}), "web")
        asyncio.run(router.admit(replace(WEB, proxied=True), 1) if step == "admit" else router.remove(WEB))
    assert api.changes[0].startswith("add server web/web-v1-1 127.0.0.1:25556 send-proxy-v2 check ")
    assert api.changes[1] == "enable dynamic-cookie backend web"
    assert listed.changes == ["set server web/web-v1-1 state maint"]  # in `drain` they would go on coming


def show(api: RuntimeApi, *instances: Instance) -> bool:
    tier = chain().tier("in")
    assert tier is not None
    return asyncio.run(HaproxyPreview(api, tier).show(instances))


def test_a_shown_instance_is_left_alone_and_every_other_gets_nothing_new() -> None:
    api = lists("another")
    api.answers["del server"] = "Server still has connections attached to it, cannot remove it.\n"
    assert show(api) is True
    assert api.changes == ["set server in.preview/another state maint", "del server in.preview/another"]
    api = lists()
    assert show(api, WEB) is True
    assert api.changes == []
    assert show(Recorded()) is False


def test_an_unconfirmed_instance_is_unknown_and_a_lingering_one_does_not_delay_others() -> None:
    api = lists("another")
    api.answers |= {"add server": "New server registered.\n", "del server": "Server still has connections\n"}
    with pytest.raises(Unknown, match="does not show web-v1-1 yet"):
        show(api, WEB)
    assert "set server in.preview/web-v1-1 state ready" in api.changes


def test_removing_and_forgetting_an_absent_instance_does_nothing() -> None:
    api = Recorded()
    run(api, lambda router: router.remove(WEB))
    run(api, lambda router: router.forget(WEB.name))
    assert api.changes == []


def test_what_is_forgotten_is_deleted() -> None:
    api = lists(administrative=8)
    api.answers["del server"] = "Server deleted.\n"
    run(api, lambda router: router.forget(WEB.name))
    assert api.changes == ["set server web/web-v1-1 state maint", "del server web/web-v1-1"]


@pytest.mark.parametrize(
    ("command", "answer", "step"),
    [
        (
            "del server",
            "Server still has connections attached to it, cannot remove it.\n",
            lambda r: r.forget(WEB.name),
        ),
        ("set server", "No such server.\n\n", lambda r: r.remove(WEB)),
        ("enable health", "No such server.\n\n", lambda r: r.admit(WEB, 100)),
    ],
)
def test_what_haproxy_did_not_do_is_unknown_in_its_own_words(
    command: str, answer: str, step: Callable[[HaproxyRouter], Any]
) -> None:
    api = lists()
    api.answers[command] = answer
    with pytest.raises(Unknown, match=answer.strip()):
        run(api, step)


def test_a_member_that_could_not_be_added_is_not_let_in() -> None:
    api = Recorded(add_server="Already exists a server with the same name in backend.\n\n")
    with pytest.raises(Unknown, match="Already exists"):
        run(api, lambda router: router.admit(WEB, 100))
    assert len(api.changes) == 1


# -- what counts as confirmed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", ["L7OK", "* L7OK"])  # `* `: the next check is under way
def test_a_member_is_admitted_when_nothing_stands_against_it_and_its_last_check_passed(check: str) -> None:
    assert membership(lists(check=check, sessions=3, weight=7)) == Membership(True, False, sessions=3, weight=7)


@pytest.mark.parametrize(
    ("operational", "check", "who"),
    [
        (2, "INI", "HAProxy (check INI)"),  # up by assumption: no check was made yet
        (2, "", "HAProxy (check pending)"),
        (2, "* INI", r"HAProxy (check * INI)"),
        (0, "L7STS", "HAProxy (check L7STS)"),
        (0, "L4CON", "HAProxy (check L4CON)"),
        (2, "L7STS", "HAProxy (check L7STS)"),  # failing, but not for the last time
        (0, "L7OK", "HAProxy (check L7OK)"),  # passing, but not for long enough
    ],
)
def test_a_member_without_a_passed_check_is_neither_in_nor_out(operational: int, check: str, who: str) -> None:
    assert membership(lists(operational=operational, check=check)) == Membership(False, False, pending=who, sessions=0)


@pytest.mark.parametrize("administrative", [1, 8, 9])
@pytest.mark.parametrize("operational", [0, 2])
def test_a_member_that_drains_or_is_in_maintenance_is_out_whatever_its_checks_say(
    administrative: int, operational: int
) -> None:
    found = membership(lists(administrative=administrative, operational=operational, sessions=2))
    assert found == Membership(False, True, sessions=2)


def test_an_instance_that_it_does_not_list_is_removed() -> None:
    assert membership(lists("web-v1-2")) == Membership(False, True, sessions=0)


def test_what_waits_in_a_queue_is_in_flight_too() -> None:
    assert membership(lists(sessions=2, queued=3)).sessions == 5
    assert membership(lists(sessions=2, queued="")).sessions == 2


# -- what is unknown -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "stat"),
    [
        ("Can't find backend.\n\n", STAT + "\n"),
        (STATE + "\n", "No such proxy.\n\n"),
        ("", STAT + "\n"),
        (STATE + "\n", ""),
        ("Unknown command: 'show servers'\n\n", STAT + "\n"),
    ],
)
def test_an_answer_that_is_no_table_is_unknown(state: str, stat: str) -> None:
    with pytest.raises(Unknown, match="HAProxy answered `show"):
        membership(Recorded(state, stat))


@pytest.mark.parametrize("cut", range(1, 200, 7))
def test_an_answer_that_was_cut_short_is_unknown_wherever_it_was_cut(cut: int) -> None:
    """Otherwise a member in the missing part would look as if it had been removed."""
    whole = lists()
    state, stat = whole.answers["show servers state"], whole.answers["show stat"]
    with pytest.raises(Unknown):
        membership(Recorded(state[:-cut], stat))
    with pytest.raises(Unknown):
        membership(Recorded(state, stat[:-cut]))


def test_a_member_of_which_only_one_of_the_two_tables_knows_is_unknown() -> None:
    api = lists()
    api.answers["show stat"] = STAT + "\n"
    with pytest.raises(Unknown, match="cannot be read"):
        membership(api)


def test_a_table_without_the_columns_that_are_read_is_unknown() -> None:
    api = lists()
    api.answers["show stat"] = api.answers["show stat"].replace("check_status", "check_state")
    with pytest.raises(Unknown, match="cannot be read"):
        membership(api)


def test_a_folder_that_is_gone_is_unknown(tmp_path: Any) -> None:
    with pytest.raises(Unknown, match=r"HAProxy did not answer `show info`.*No such file or directory"):
        asyncio.run(RuntimeApi(str(tmp_path / "gone" / "haproxy.sock")).ask("show info"))


def test_a_socket_without_a_listener_is_unknown(tmp_path: Any) -> None:
    with pytest.raises(Unknown, match="HAProxy did not answer `show info`"):
        asyncio.run(RuntimeApi(str(tmp_path / "haproxy.sock")).ask("show info"))


# -- while too few instances are ready -----------------------------------------------------------------------------


def panics(panic: str, size: int = 4) -> dict[str, list[str]]:
    given = {"name": "web", "kind": "app", "size": size, "templates": {"v1": {}}, "health": {"panic": panic}}
    one = Chain.model_validate({"tiers": [given]})
    return sections(config(one, {"web": Address("127.0.0.1", 8443)}, {"web": AT_READYZ}))


@pytest.mark.parametrize(("panic", "fewest"), [("1%", 1), ("25%", 1), ("26%", 2), ("50%", 2), ("100%", 4)])
def test_below_its_percentage_a_tier_uses_a_backend_whose_checks_only_connect(panic: str, fewest: int) -> None:
    found = panics(panic)
    assert f"use_backend web.panic if {{ nbsrv(web) lt {fewest} }} {{ nbsrv(web.panic) gt 0 }}" in found["listen web"]
    assert "balance roundrobin" in found["backend web.panic"]
    assert not any("httpchk" in line for line in found["backend web.panic"])


def test_without_a_percentage_a_tier_has_no_such_backend() -> None:
    assert list(panics("0%")) == ["global", "defaults", "listen web"]


def test_a_member_is_in_both_backends_and_leaves_both() -> None:
    api = lists()
    api.answers["show backend"] = "# name\nweb\nweb.panic\n\n"
    api.answers |= {"add server": "New server registered.\n", "del server": "Server deleted.\n"}
    run(api, lambda router: router.admit(WEB, 7))
    run(api, lambda router: router.remove(WEB))
    run(api, lambda router: router.forget(WEB.name))
    for change in ("weight 7", "state ready", "state drain", "state maint"):
        assert {f"set server {backend}/web-v1-1 {change}" for backend in ("web", "web.panic")} <= set(api.changes)
    assert {"del server web.panic/web-v1-1", "del server web/web-v1-1"} <= set(api.changes)


def test_a_member_is_removed_only_when_both_backends_agree_and_has_the_sessions_of_both() -> None:
    api = lists(administrative=8, sessions=2)
    api.answers["show backend"] = "# name\nweb\nweb.panic\n\n"
    found = membership(api)
    assert found == Membership(False, True, sessions=4)
    api.answers = {
        "show backend": "# name\nweb\nweb.panic\n\n",
        "show servers state web.panic": f"{STATE}{state_row(WEB.name, 2, 0)}\n",
        **api.answers,
    }
    assert membership(api).pending == "HAProxy (still in the panic backend)"


# -- what broke ----------------------------------------------------------------------------------------------------

COUNTS = "# pxname,svname,scur,stot,econ,eresp,wredis,mode,\n"


@pytest.mark.parametrize(
    ("row", "found"),
    [
        # Killed with a request whose answer had begun, and with one whose answer had not: HTTP mode counts both.
        ("0,7,0,2,0,http", Broken(2, 0)),
        # TCP mode: killed with an upload whose client went on, three connections that were refused went elsewhere.
        ("1,9,0,1,3,tcp", Broken(1, 1, connections=6)),
        ("0,4,2,0,0,http", Broken(2, 0)),
    ],
)
def test_what_broke_is_read_by_member_and_backend(row: str, found: Broken) -> None:
    api = Recorded(stat=f"{COUNTS}web,{WEB.name},{row},\nweb,other,0,1,1,1,0,tcp,\n\n")
    names = frozenset([WEB.name, "unlisted"])
    broken = run(api, lambda router: router.broken(names))
    assert broken == {WEB.name: {f"HAProxy (web/{WEB.name}, process here 7 100)": found}, "unlisted": {}}


def test_a_table_without_the_counts_of_what_broke_is_unknown() -> None:
    with pytest.raises(Unknown, match="HAProxy's counters of web cannot be read"):
        run(lists(), lambda router: router.broken(frozenset([WEB.name])))


def test_the_ages_of_sessions_are_read_by_member_in_every_unit() -> None:
    """Recorded from HAProxy 2.6.12; the second line is one of another listener, the last one the question itself."""
    line = "0x556a: proto=tcpv4 src=127.0.0.1:54092 fe={be} be={be} srv={srv} ts=00 epoch=0 age={age} calls=2 rate=0\n"
    api = Recorded(
        show_sess=line.format(be="web", srv=WEB.name, age="2s")
        + line.format(be="other", srv=WEB.name, age="5s")
        + line.format(be="web", srv=WEB.name, age="1d2h3m4s")
        + line.format(be="<NONE>", srv="<none>", age="0s")
    )
    assert run(api, lambda router: router.ages()) == {WEB.name: [2, 93784]}
