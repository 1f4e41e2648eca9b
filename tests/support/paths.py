"""Where the tests find what they use."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests/fixtures"  # recordings of the wire, one JSON object a line
SUPPORT = ROOT / "tests/support"  # programs that tests start
