"""The names that labs import from this folder; each is loaded from its module when it is first used."""

from .display import notice as notice, table as table, texts as texts, tokens as tokens
from .hardware import resident_bytes as resident_bytes
from .lab import start as start
from .run_records import RUNS as RUNS, fingerprint as fingerprint, make_folder as make_folder
from .settings import (
    PROFILES as PROFILES,
    SettingsError as SettingsError,
    load_settings as load_settings,
    seed_everything as seed_everything,
)
