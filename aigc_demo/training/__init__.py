"""Training of the small picture models that ship: `python -m aigc_demo.training --help`.

A training run is a generator of Step and Done like every other run of this house: see `loop.train`.
What is learnt from is in `data`, what the words of a prompt mean in `captions`, and each model family
has a file of its own that says nothing but its networks, its losses and its held-out figures.
"""
