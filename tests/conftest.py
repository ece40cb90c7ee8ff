"""What holds for all tests."""

import signal

# A shell that starts something in the background has it ignore interrupts, and all that it starts in turn (POSIX.1,
# 2.11): processes under test are to hear them even then.
signal.signal(signal.SIGINT, signal.default_int_handler)
