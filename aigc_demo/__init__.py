"""A hands-on page for generative models: text, diffusion, latent spaces and adversarial networks."""

__version__ = "0.1.0"
