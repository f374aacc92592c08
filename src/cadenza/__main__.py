"""``python -m cadenza`` is ``cadenza``."""

from cadenza.cli import main

main()
