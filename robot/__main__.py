"""`python -m robot VERB` is `blackout VERB`."""

import sys

from robot.cli.main import main

sys.exit(main())
