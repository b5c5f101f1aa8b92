import pytest

from preloader.errors import ConfigurationError
from preloader.settings import Settings, load_settings


def write(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


def test_an_empty_file_gives_the_defaults(tmp_path):
    assert load_settings(write(tmp_path, "")) == Settings()


def test_a_file_sets_what_it_names(tmp_path):
    settings = load_settings(write(tmp_path, "budget_bytes = 5\ntier_workers = [1, 2, 3]\nretry_wait_s = 1\n"))
    assert settings == Settings(budget_bytes=5, tier_workers=(1, 2, 3), retry_wait_s=1.0)


@pytest.mark.parametrize(
    ("text", "line", "rest"),
    [
        ("# mine\n\nsteps = 0", 3, ", field 'steps': must be a whole number from 1 to 32, not 0"),
        ("steps = 33", 1, ", field 'steps': must be a whole number from 1 to 32, not 33"),
        ("step = 3", 1, ", field 'step': is unknown; did you mean 'steps'?"),
        ("[tiers]\nx = 1", 1, ", field 'tiers': is unknown; known are budget_bytes, steps, "),
        ("steps = true", 1, ", field 'steps': must be int, not True"),
        ("steps = 3.0", 1, ", field 'steps': must be int, not 3.0"),
        ("budget_bytes = '3 GB'", 1, ", field 'budget_bytes': must be int, not '3 GB'"),
        ("budget_bytes = 0", 1, ", field 'budget_bytes': must be a whole number of at least 1, not 0"),
        ("tier_workers = [3, 3]", 1, ", field 'tier_workers': must be array of length 3, not [3, 3]"),
        ("tier_workers = [\n 3,\n 3,\n 'x']", 4, ", field 'tier_workers[2]': must be int, not 'x'"),
        ("tier_capacity = [1, 1, 0]", 1, ", field 'tier_capacity': must be three whole numbers of at least 1 ("),
        ("waste_budget = nan", 1, ", field 'waste_budget': must be a share from 0 up to but below 1, such as 0.1, not"),
        ("waste_budget = 1", 1, ", field 'waste_budget': must be a share from 0 up to but below 1"),
        ("load_timeout_s = inf", 1, ", field 'load_timeout_s': must be a number of seconds above 0, not inf"),
        ("load_attempts = -1", 1, ", field 'load_attempts': must be a whole number of at least 1, not -1"),
        ("loaders = 0", 1, ", field 'loaders': must be a whole number of at least 1, or left out, not 0"),
        ("policy = ''", 1, ", field 'policy': must be a name, not ''"),
    ],
)
def test_a_mistake_is_shown_in_its_place(tmp_path, text, line, rest):
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path)
    assert str(caught.value).startswith(f"{path}:{line}{rest}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, " cannot be read: No such file or directory"),
        (b"steps = ", ":1: is not valid TOML: Invalid value"),
        (b"steps = 1\nsteps = 2", ":2: is not valid TOML: Cannot overwrite a value"),
        (b"policy = '\xff'", " is not UTF-8 text: byte 10 cannot be decoded"),
    ],
)
def test_a_file_that_is_no_toml(tmp_path, content, reason):
    path = tmp_path / "settings.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path)
    assert str(caught.value) == f"{path}{reason}"


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", "3"), ("steps", True), ("tier_workers", [3, 3, 3]), ("waste_budget", -0.1), ("autosave_s", 0)],
)
def test_settings_made_in_code_are_checked_too(field, value):
    with pytest.raises(ConfigurationError, match=f"^{field} must be .* not ") as caught:
        Settings(**{field: value})
    assert caught.value.field == field
