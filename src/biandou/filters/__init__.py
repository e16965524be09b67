"""Before ①: what third parties do with each request before it is identified. Python runs these kinds."""
