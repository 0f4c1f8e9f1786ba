"""A seeded tenth of the campaign: mutations, kills and a crowd at the viewer."""

from hostile.test_hostile_mutations import assert_clean


def test_mutations(environment: dict[str, str]) -> None:
    """A thousand, of every format and verb."""
    assert_clean(environment, "--mutations", "1000", "--turns", "0", "--no-kills", "--no-soak")


def test_turns(environment: dict[str, str]) -> None:
    """A tenth of what is done in turns: files in wrong places, odd numbers and words."""
    assert_clean(environment, "--mutations", "0", "--turns", "800", "--no-kills", "--no-soak")


def test_kills(environment: dict[str, str]) -> None:
    """Ten kills of every long verb; the bytes are the same."""
    assert_clean(environment, "--mutations", "0", "--turns", "0", "--kills", "10", "--no-soak")


def test_soak(environment: dict[str, str]) -> None:
    """Mixed load, slow clients, savers and writers."""
    assert_clean(environment, "--mutations", "0", "--turns", "0", "--no-kills", "--part", "0.1")
