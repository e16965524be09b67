"""The shipped test kit: back ends, engines and processes that a plugin's author can test against."""
