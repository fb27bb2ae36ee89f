"""`python -m fieldhand.cli`."""

import sys

from fieldhand.cli import main

if __name__ == "__main__":
    sys.exit(main())
