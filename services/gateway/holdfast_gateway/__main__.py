"""`python -m holdfast_gateway`."""

import sys

from holdfast_gateway.cli import main

if __name__ == "__main__":
    sys.exit(main())
