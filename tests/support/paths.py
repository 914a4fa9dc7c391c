"""Where things are in a checkout, whatever folder a test is in."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
TESTS: Final = ROOT / "tests"
EXAMPLE_RATES: Final = ROOT / "deploy" / "rates.example.toml"
HAPROXY_CONFIG: Final = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
