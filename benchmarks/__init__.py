"""What Biandou costs beside other proxies, measured in one alternating run; `python -m benchmarks`."""
