"""The Admin API's traps, its token, and its certificates."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tests.kong.double import Database, Node
from tests.kong.kongs import Kong, double, plain_document, run
from tests.kong.serving import ServedNode, beside

from changeover.hops.kong.admin_access import AdminAccess
from changeover.hops.kong.admin_api import AdminApi, PageLimits, StoredTarget
from changeover.ports import Unknown

TOKEN = "s3cr3t-t0ken"
VARIABLE = "KONG_TOKEN_OF_A_TEST"


@pytest.fixture
def kong(tmp_path: Path) -> Iterator[Kong]:
    with double(tmp_path, 1, database=True) as found:
        run(found.api().create_upstream({"name": "runtime"}))
        yield found


# -- targets -------------------------------------------------------------------------------------------------------


def test_every_page_of_a_list_is_as_long_as_the_first(kong: Kong) -> None:
    """`next` leaves out the size that was asked for."""
    api = kong.api(limits=PageLimits(size=2))
    for port in range(1, 6):
        run(kong.api().set_target("runtime", f"127.0.0.1:{port}", port, (f"one-{port}",)))
    found = run(api.targets("runtime"))
    assert found == tuple(StoredTarget(f"127.0.0.1:{port}", port, (f"one-{port}",)) for port in (5, 4, 3, 2, 1))
    pages = [asked for asked in kong.served[0].node.asked if "?" in asked]
    assert [asked.partition("?")[2] for asked in pages] == ["size=2", "offset=2&size=2", "offset=4&size=2"]


def test_a_list_without_end_is_given_up(kong: Kong) -> None:
    for port in range(1, 4):
        run(kong.api().set_target("runtime", f"127.0.0.1:{port}", 1, ()))
    with pytest.raises(Unknown, match="lists the targets of runtime without end"):
        run(kong.api(limits=PageLimits(size=1, pages=2)).targets("runtime"))


def test_a_target_that_is_there_already_is_changed(kong: Kong) -> None:
    run(kong.api().set_target("runtime", "127.0.0.1:1", 1, ("old",)))
    run(kong.api().set_target("runtime", "127.0.0.1:1", 2, ("new",)))
    assert run(kong.api().targets("runtime")) == (StoredTarget("127.0.0.1:1", 2, ("new",)),)


def test_a_target_that_is_gone_is_deleted_already_and_cannot_be_weighed(kong: Kong) -> None:
    run(kong.api().set_target("runtime", "127.0.0.1:1", 1, ()))
    for _ in range(2):
        run(kong.api().delete_target("runtime", "127.0.0.1:1"))
    run(kong.api().weigh_target("runtime", "127.0.0.1:1", 5))
    assert run(kong.api().targets("runtime")) == ()


def test_an_upstream_that_is_there_already_is_left_as_it_is(kong: Kong) -> None:
    run(kong.api().create_upstream({"name": "runtime", "algorithm": "least-connections"}))
    (upstream,) = kong.served[0].node.known["upstreams"].values()
    assert upstream["algorithm"] == "round-robin"


def test_without_an_upstream_there_is_nothing_to_tell(kong: Kong) -> None:
    for question in (kong.api().targets("nope"), kong.api().balancer("nope")):
        with pytest.raises(Unknown, match="has no upstream nope"):
            run(question)


def test_a_refusal_is_reported_with_the_reason_of_kong(kong: Kong) -> None:
    with pytest.raises(Unknown, match=r"answered 400: schema violation \(weight: value should be between 0 and 65535"):
        run(kong.api().set_target("runtime", "127.0.0.1:1", 65536, ()))
    with pytest.raises(Unknown, match="only available when Kong is configured to not use a database"):
        run(kong.api().load(plain_document()))


def test_a_new_upstream_is_not_balanced_at_first_and_an_empty_one_has_no_hosts(kong: Kong) -> None:
    kong.served[0].node.balanced = dict.fromkeys(kong.served[0].node.balanced, float("inf"))
    with pytest.raises(Unknown, match="has not begun to balance runtime yet"):
        run(kong.api().balancer("runtime"))
    kong.served[0].node.balanced = dict.fromkeys(kong.served[0].node.balanced, 0.0)
    assert run(kong.api().balancer("runtime")).targets == {}


# -- documents -----------------------------------------------------------------------------------------------------


def test_a_node_without_a_database_takes_documents_and_no_targets(tmp_path: Path) -> None:
    with double(tmp_path, 1, database=False) as kong:
        run(kong.api().load(plain_document()))
        taken = len(kong.served[0].node.weights)
        run(kong.api().load(plain_document()))  # nothing new in it: 304, and nothing is built anew
        assert len(kong.served[0].node.weights) == taken
        with pytest.raises(Unknown, match=r"cannot create 'targets' entities.*comes from files, or from a control"):
            run(kong.api().set_target("runtime", "127.0.0.1:1", 1, ()))
        with pytest.raises(Unknown, match=r"declarative config is invalid: \{bogus="):
            run(kong.api().load({**plain_document(), "bogus": 1}))


# -- who may ask, and who answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["foreign", "other", "500", ""])
def test_a_token_is_sent_and_never_printed(kong: Kong, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Not even when a page repeats it."""
    monkeypatch.setenv(VARIABLE, TOKEN)
    served = kong.served[0]
    served.token = TOKEN if fault else "another"
    served.fault = fault
    access = AdminAccess(token_env=VARIABLE)
    with pytest.raises(Unknown) as error:
        run(AdminApi(access, kong.admin[0]).targets("runtime"))
    assert TOKEN not in str(error.value)
    assert TOKEN not in repr(access)
    assert error.value.__cause__ is None or TOKEN not in repr(error.value.__cause__)
    assert served.headers_seen[-1]["kong-admin-token"] == TOKEN


def test_without_a_token_kong_says_so_and_with_it_it_answers(kong: Kong, monkeypatch: pytest.MonkeyPatch) -> None:
    kong.served[0].token = TOKEN
    with pytest.raises(Unknown, match="answered 401: Invalid credentials"):
        run(kong.api().targets("runtime"))
    monkeypatch.setenv(VARIABLE, TOKEN)
    assert run(AdminApi(AdminAccess(token_env=VARIABLE), kong.admin[0]).targets("runtime")) == ()


@pytest.mark.parametrize(("value", "why"), [(None, "is not set"), ("", "is not set"), ("a\nb", "no header can carry")])
def test_a_token_that_cannot_be_sent_is_reported_by_the_name_of_its_variable(
    kong: Kong, monkeypatch: pytest.MonkeyPatch, value: str | None, why: str
) -> None:
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(Unknown, match=f"{VARIABLE}.* {why}"):
        run(AdminApi(AdminAccess(token_env=VARIABLE), kong.admin[0]).targets("runtime"))


def test_a_certificate_authority_and_a_client_certificate(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ca, other, own = (str(tmp_path / name) for name in ("ca.pem", "other.pem", "client.pem"))
    authority.cert_pem.write_to_path(ca)
    stranger.cert_pem.write_to_path(other)
    authority.issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(own)
    with beside(ServedNode(Node(Database()), tls=context)) as running:
        url = running.served[0].admin_url
        assert run(AdminApi(AdminAccess(ca=ca, certificate=own), url).has_database())
        with pytest.raises(Unknown, match="certificate verify failed"):
            run(AdminApi(AdminAccess(ca=other, certificate=own), url).has_database())
        with pytest.raises(Unknown):
            run(AdminApi(AdminAccess(ca=ca), url).has_database())
        with pytest.raises(Unknown, match=r"the certificates of the Admin API \(.*nowhere.pem\) cannot be used"):
            run(AdminApi(AdminAccess(ca=str(tmp_path / "nowhere.pem")), url).has_database())
