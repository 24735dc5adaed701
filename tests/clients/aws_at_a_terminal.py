"""The aws CLI as a person has it who follows a log: at a terminal, and with Ctrl-C once a call's end is to be seen. Any other command is left to the CLI itself.

Takes the CLI and its arguments.
"""

import errno
import os
import pty
import signal
import subprocess
import sys

command = sys.argv[1:]
if "--follow" not in command:
    os.execv(command[0], command)

ours, theirs = pty.openpty()
# In a session of its own, as each terminal's programs are; nobody types.
follower = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, start_new_session=True)
os.close(theirs)
seen = b""
while True:
    try:
        piece = os.read(ours, 65536)
    except OSError as error:
        # Linux says so when the other end is closed.
        if error.errno != errno.EIO:
            raise
        break
    if not piece:
        break
    sys.stdout.buffer.write(piece)
    was_seen, seen = b"END RequestId" in seen, seen + piece
    if not was_seen and b"END RequestId" in seen:
        follower.send_signal(signal.SIGINT)
code = follower.wait()
# Interrupted while it waits it ends well; while it prints, with 130. Both are what was asked for.
sys.exit(0 if code in (130, -signal.SIGINT) and b"END RequestId" in seen else code)
