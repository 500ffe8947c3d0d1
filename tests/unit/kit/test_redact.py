from __future__ import annotations

import pytest

from changeover.kit.redact import Redactor


def knowing(address: str, open: str = "") -> Redactor:
    redact = Redactor()
    redact.learn(address, open=open)
    return redact


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("slack://TokenA/TokenB/TokenC/#channel", "TokenA TokenB TokenC channel"),
        ("mailto://someone:pass%20word@mail.example", "someone pass word pass%20word"),
        ("https://host/path?key=value&other=thing", "value thing path"),
        ("tgram://123456:abcdef/chat", "123456:abcdef"),
        ("json://me:s3cr3t@host/a/b", "json://me:s3cr3t@host/a/b"),
        ("json://me:s3cr3t@host/a/b", "me:s3cr3t@host/a/b"),
        ("https://host/a.b/(c+d*", "(c+d*"),
        ("no address at all", "no address at all"),
    ],
)
def test_every_part_of_an_address_is_taken_out(address: str, text: str) -> None:
    assert set(knowing(address)(text)) <= set("* :")


def test_the_longest_part_is_taken_out_first() -> None:
    assert knowing("x://secret/secret-and-more")("secret-and-more secret") == "*** ***"


def test_short_parts_and_what_is_open_stay() -> None:
    redact = knowing("https://hooks.example/v1/abcdef", open="https://hooks.example")
    assert redact("https://hooks.example/v1 said abcdef") == "https://hooks.example/v1 said ***"


def test_who_knows_no_secret_changes_nothing() -> None:
    assert Redactor()("anything") == "anything"
    assert Redactor().longest == 0


def test_the_longest_secret_is_counted_in_bytes() -> None:
    assert knowing("éééé").longest == 8


def test_the_password_of_a_url_in_a_value_is_taken_out_alone_too() -> None:
    redact = Redactor()
    redact.learn_value("postgres://shop:hunter2%2Bsecret@db.example:5432/shop")
    text = "password hunter2+secret (hunter2%2Bsecret) of shop refused by db.example"
    assert redact(text) == "password *** (***) of shop refused by db.example"
