"""`python -m simple_dqn` is the command `simple-dqn`."""

import sys

from simple_dqn.main import main

if __name__ == "__main__":
    sys.exit(main())
