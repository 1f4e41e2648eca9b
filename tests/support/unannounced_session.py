"""`hapi AGENT` that finds no runner to announce itself to: a start that overruns its time."""

import sys

from hapi.session.startup import early_registration

early_registration.control_port = lambda home: None

if __name__ == "__main__":
    from hapi.__main__ import main

    sys.exit(main())
