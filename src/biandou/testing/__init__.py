"""The shipped test kit: fakes and helpers that plugin authors use too."""
