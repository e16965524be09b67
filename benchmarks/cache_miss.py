"""x"""
from pathlib import Path
def run(directory: Path) -> str:
    return ""
