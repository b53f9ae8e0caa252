"""One thread for torch: the networks of the tests are small, and the cores are shared."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
