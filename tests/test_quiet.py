"""Two visitors' first clicks may load diffusers at once."""

import subprocess
import sys

MEET = """
import sys, threading
from aigc_demo.generators.quiet import hush

class Slow:  # holds the first thread up in the middle of the library, so that the second meets it there
    met = threading.Event()
    def find_spec(self, name, path=None, target=None):
        talks = hasattr(sys.modules.get("diffusers.utils.logging"), "set_verbosity_error")
        if talks and name.startswith("diffusers.") and not self.met.is_set():
            self.met.set()
            threading.Event().wait(1)

sys.meta_path.insert(0, Slow())
first = threading.Thread(target=hush, args=("diffusers",))
first.start()
Slow.met.wait()
hush("diffusers")
from diffusers import DiffusionPipeline
first.join()
"""


def test_two_first_clicks_find_the_whole_library() -> None:
    """The second of two threads used to get a module without its classes, and its visitor an apology."""
    done = subprocess.run([sys.executable, "-c", MEET], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
