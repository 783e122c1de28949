"""``python -m avcd`` is ``avcd``."""

from avcd.cli import main

if __name__ == "__main__":
    main()
