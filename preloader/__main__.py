"""``python -m preloader`` is ``preloader``."""

from __future__ import annotations

from preloader.cli import main

if __name__ == "__main__":
    main()
