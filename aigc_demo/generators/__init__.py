"""One module per family of models: its Params, its rows, its loader and its `generate`."""
