"""A router as binding sees it: how its names are interpreted, transformed, and treated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from biandou.config.plan import ClientPolicy, ServicePolicy
from biandou.dtab import Dtab, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.dtab.explain import Delegation, Found, Transformed, map_found
from biandou.interpreters.interface import Interpreter
from biandou.live import Live
from biandou.transformers.interface import Transformer


def _any_service(_path: Path) -> ServicePolicy:
    return ServicePolicy()


def _any_client(_client: Path) -> ClientPolicy:
    return ClientPolicy()


@dataclass(frozen=True, slots=True)
class Router:
    """What ② and ④ need of one router; the policies are asked once a name."""

    label: str
    interpreter: Interpreter
    transformers: Sequence[Transformer] = ()
    service_policy: Callable[[Path], ServicePolicy] = field(default=_any_service)
    client_policy: Callable[[Path], ClientPolicy] = field(default=_any_client)

    def bind(self, local: Dtab, path: Path) -> Live[NameTree[Bound]]:
        """Give the tree of client names that a service name comes to: interpret, then transform."""
        tree = self.interpreter.bind(local, path)
        for transformer in self.transformers:
            tree = transformer.apply(tree)
        return tree

    def delegate(self, dtab: Dtab, path: Path) -> Live[Delegation]:
        """Give every branch of a delegation through `dtab`, transformations shown; for `/delegator.json`.

        Raises `NotImplementedError` if the interpreter or a transformer (`replace`, `const`) cannot show it.
        """
        delegation = self.interpreter.delegate(dtab, path)
        for transformer in self.transformers:
            if transformer.delegate_name is None:
                raise NotImplementedError(f"{transformer.prefix} cannot show delegations")
            delegation = _shown(delegation, transformer)
        return delegation


def _shown(delegation: Live[Delegation], transformer: Transformer) -> Live[Delegation]:
    return delegation.map(lambda tree: map_found(tree, lambda found: _transformed(found, transformer)))


def _transformed(found: Found, transformer: Transformer) -> Delegation:
    after = Found(path=found.path, dentry=found.dentry, bound=transformer.leaf(found.bound))
    name = transformer.delegate_name or ""
    return Transformed(path=found.path, dentry=found.dentry, name=name, before=found.bound, tree=after)
