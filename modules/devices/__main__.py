"""``python -m modules.devices``: what this machine can compute on, as JSON; machine.ask_child reads it."""

import json

from modules.devices.machine import probe_here

print(json.dumps(probe_here().to_dict(), ensure_ascii=True))
