"""Prices: which row a model has, what a call comes to, and whose word counts."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.agents.prices import price, priced, prices_of, require_price, row_of, shipped
from raysearch.config.layers import configure, effective_configuration, set_override
from raysearch.config.prices import read_prices
from raysearch.errors import ConfigError
from raysearch.run.agents import prices
from raysearch.types import Usage

ROOT = Path(__file__).parents[1]
OWN = prices_of({"mine": {"input": 2.0, "output": 8.0}})


def test_list_prices_say_where_and_when() -> None:
    assert (ROOT / "configs/prices.toml").read_bytes() == (ROOT / "raysearch/agents/prices.toml").read_bytes()
    assert len(shipped()) > 15
    for name, row in shipped().items():
        assert row.source.startswith("https://"), name
        assert row.dated >= "2026-", name
        assert row_of(name) is row
        for rates in (row, *([row.long] if row.long else ())):
            assert rates.cached is not None
            assert 0 < rates.cached < rates.input < rates.output, name
            assert rates.written is None or rates.input < rates.written < rates.output, name
        if row.long:
            assert row.long.input > row.input
            assert row.long.output > row.output


@pytest.mark.parametrize(
    ("model", "row"),
    [
        ("claude-opus-5-5", "claude-opus-5-5"),
        ("anthropic/claude-opus-5-5", "claude-opus-5-5"),
        ("openrouter/anthropic/claude-opus-5-5", "claude-opus-5-5"),
        ("claude-opus-5-5[1m]", "claude-opus-5-5"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("gpt-6-sol-2026-09-22", "gpt-6-sol"),
        ("models/gemini-3.8-flash", "gemini-3.8-flash"),
        (" gpt-6.1-sol ", "gpt-6.1-sol"),
    ],
)
def test_a_model_is_known_by_its_bare_name(model: str, row: str) -> None:
    assert row_of(model) == shipped()[row]


@pytest.mark.parametrize(
    "model", ["", "claude", "claude-opus-5-5-fast", "gpt-9", "claude-opus-5-5/", "/", "[1m]", "-latest"]
)
def test_a_model_that_nobody_knows_has_no_price(model: str) -> None:
    assert row_of(model) is None
    assert price(model, Usage(tokens_in=5)) is None


def test_what_a_call_comes_to() -> None:
    usage = Usage(tokens_in=100_000, tokens_cached=40_000, tokens_out=2_000, turns=1)
    assert price("claude-opus-5-5", usage) == pytest.approx(0.06 * 4 + 0.04 * 0.2 + 0.002 * 20)
    written = price("claude-opus-5-5", usage, tokens_written=10_000)
    assert written == pytest.approx(0.05 * 4 + 0.01 * 5 + 0.04 * 0.2 + 0.002 * 20)
    assert price("mine", usage, OWN) == pytest.approx(0.1 * 2 + 0.002 * 8)  # cached and written as input
    assert price("mine", usage) is None


def test_long_prompts_have_their_own_price() -> None:
    at, above = Usage(tokens_in=272_000, tokens_out=1000, turns=1), Usage(tokens_in=272_001, tokens_out=1000, turns=1)
    assert price("gpt-6.1-sol", at) == pytest.approx(0.272 * 2 + 0.001 * 10)
    assert price("gpt-6.1-sol", above) == pytest.approx(0.272001 * 4 + 0.001 * 15)
    many = Usage(tokens_in=2_000_000, tokens_out=1000, turns=20)  # none of which was long
    assert price("gpt-6.1-sol", many) == pytest.approx(2 * 2 + 0.001 * 10)


@given(
    st.sampled_from(sorted(shipped())),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.integers(0, 10**6),
    st.integers(0, 10**7),
    st.integers(0, 50),
)
def test_a_price_is_never_less_than_nothing_and_grows_with_what_is_used(
    model: str, entered: int, cached: int, out: int, written: int, turns: int
) -> None:
    usage = Usage(tokens_in=entered, tokens_cached=cached, tokens_out=out, turns=turns)
    found = price(model, usage, tokens_written=written)
    assert found is not None
    assert found >= 0
    more = price(
        model, Usage(tokens_in=entered, tokens_cached=cached, tokens_out=out + 1, turns=turns), tokens_written=written
    )
    assert more is not None
    assert more > found


def test_whose_word_counts() -> None:
    told = Usage(0.5, 1_000_000, 0, 0, 1, "mine")
    assert priced(told, {}).cost_usd == 0.5
    assert priced(told, OWN).cost_usd == 2.0
    silent = Usage(0.0, 1_000_000, 0, 0, 1, "claude-opus-5-5", 20)
    assert priced(silent, {}).cost_usd == 4.0
    assert priced(Usage(0.0, 10, 0, 0, 1, "nobody's"), {}).cost_usd == 0.0
    assert priced(Usage(0.7, 10, 0, 0, 1, "claude-opus-5-5"), {}).cost_usd == 0.7


def test_an_unknown_model_is_one_clear_error() -> None:
    require_price("mine", OWN, "mutator 'x'")
    require_price("claude-opus-5-5", {}, "mutator 'x'")
    with pytest.raises(ConfigError) as error:
        require_price("claude-opsu-5-5", {}, "mutator 'x'")
    told = str(error.value)
    assert told.startswith("mutator 'x': nothing says what the model 'claude-opsu-5-5' costs")
    assert "Did you mean 'claude-opus-5-5'?" in told
    assert "--no-price" in told
    example = told.partition("as in ")[2].partition(" (dollars")[0].replace("] ", "]\n").replace(", ", "\n")
    assert tomllib.loads(example) == {"prices": {"claude-opsu-5-5": {"input": 1.0, "output": 5.0}}}


def test_prices_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "team.toml").write_text(
        '[prices."claude-opus-5-5"]\ninput = 1\noutput = 2\n[prices.llama]\ninput = 0\noutput = 0\n'
    )
    config = tmp_path / "run.toml"
    config.write_text('[agents]\nprices = "team.toml"\n[prices.llama]\ninput = 0.1\noutput = 0.2\ncached = 0.0\n')
    configuration = configure(config, [set_override("prices.other.input=3"), set_override("prices.other.output=4")])
    own = prices(configuration.settings)
    assert {name: row.input for name, row in own.items()} == {"claude-opus-5-5": 1, "llama": 0.1, "other": 3}
    assert price("llama", Usage(tokens_in=10**6, tokens_cached=10**6), own) == 0.0
    (tmp_path / "again.toml").write_text(effective_configuration(configuration))
    assert configure(tmp_path / "again.toml").settings == configuration.settings


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[prices.x]\ninput = 1\n", r"1: 'output' is missing in \[prices.x\]"),
        ("[prices.x]\ninput = -1\noutput = 1\n", r"2: prices.x.input should be greater than or equal to 0"),
        ("[prices.x]\ninput = 'a lot'\noutput = 1\n", r"2: prices.x.input"),
        ("[prices.x]\ninput = 1\noutput = 1\ncashed = 1\n", r"4: unknown key 'cashed'.*'cached'"),
        ("[prices.x]\ninput = 1\noutput = 1\ndated = 'soon'\n", r"4: prices.x.dated"),
        ("[price.x]\ninput = 1\noutput = 1\n", r"1: unknown section 'price'.*'prices'"),
        ("[prices.x]\ninput = 1\noutput = 1\nlong = {input = 1, output = 2}\n", r"'above' is missing"),
    ],
)
def test_a_bad_row_is_shown_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    place = tmp_path / "prices.toml"
    place.write_text(text)
    with pytest.raises(ConfigError, match=told):
        read_prices(place)
    with pytest.raises(ConfigError, match=r"no-such\.toml"):
        read_prices(tmp_path / "no-such.toml")
