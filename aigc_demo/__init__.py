"""A hands-on page for generative models: text, diffusion, latent spaces and adversarial networks."""

import os

__version__ = "0.1.0"

# Threads of torch that wait for one another otherwise burn the cores that a browser on the same machine needs to show the
# result: 20 steps took twice the processor's time. Read once, when the first operation runs on several threads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
