"""A classifier for services that answer 200 and tell in a header that it went wrong."""

from __future__ import annotations

from biandou.classifiers.interface import Classify, PythonClassifierKind, ResponseClass
from biandou.requests import PluginRequest, PluginResponse


class VerdictClassifierKind(PythonClassifierKind, frozen=True, kw_only=True, tag="com.example.verdict"):
    """`header` is the header that says `failed`, or `busy` if the same request may go well a moment later."""

    header: str = "X-Verdict"

    def make(self) -> Classify:
        """Give the classifier."""

        async def classify(request: PluginRequest, response: PluginResponse) -> ResponseClass:
            verdict = response.headers.get(self.header)
            if verdict == "busy" and request.method in ("GET", "HEAD"):
                return ResponseClass.RETRYABLE_FAILURE
            if verdict in ("busy", "failed") or response.status >= 500:
                return ResponseClass.FAILURE
            return ResponseClass.SUCCESS

        return classify
