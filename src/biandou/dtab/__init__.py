"""The naming language: paths, name trees, dtabs, and how a name is delegated through them."""

from biandou.dtab.parse import DtabSyntaxError
from biandou.dtab.path import Path
from biandou.dtab.table import Dentry, Dtab, Prefix
from biandou.dtab.tree import EMPTY, FAIL, NEG, Alt, Leaf, NameTree, Union, Weighted

__all__ = [
    "EMPTY",
    "FAIL",
    "NEG",
    "Alt",
    "Dentry",
    "Dtab",
    "DtabSyntaxError",
    "Leaf",
    "NameTree",
    "Path",
    "Prefix",
    "Union",
    "Weighted",
]
