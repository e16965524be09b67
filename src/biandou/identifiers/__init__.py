"""① Identification: what a request asks for. The engine runs these kinds; here they are only declared."""
