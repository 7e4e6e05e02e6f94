"""Speed, as ratios measured side by side in one run: `python -m benchmarks.text`, `python -m benchmarks.startup`."""
