"""A conversation as a tree: editing a turn or choosing another token makes a branch, and nothing is lost.

It lives in the visitor's browser as JSON and comes along with every request, so the server keeps nothing
and a restart loses nothing. What comes from a browser is checked like anything from strangers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from aigc_demo.params import clean

LONGEST = 2_000_000
"""Characters in one conversation."""
MOST_NODES = 5_000


@dataclass(frozen=True)
class Node:
    """One turn. parent: the turn before it, None for the first. tokens: an answer's token ids, for branching."""

    id: str
    parent: str | None
    role: str
    content: str
    mode: str = "chat"
    tokens: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Conversation:
    """Turns by id, in the order in which they were made, and the last turn of the branch that is shown."""

    nodes: dict[str, Node] = field(default_factory=dict)
    leaf: str | None = None

    @classmethod
    def read(cls, data: Any) -> Conversation:
        """From a browser's JSON; whatever is not a well-formed turn is left out with everything after it."""
        nodes: dict[str, Node] = {}
        if not isinstance(data, dict) or not isinstance(data.get("nodes"), list):
            return cls()
        room = LONGEST
        for entry in data["nodes"][:MOST_NODES]:
            node = _node(entry)
            if node is None or node.id in nodes or (node.parent is not None and node.parent not in nodes):
                continue
            room -= len(node.content)
            if room < 0:
                break
            nodes[node.id] = node
        leaf = data.get("leaf")
        return cls(nodes, leaf if isinstance(leaf, str) and leaf in nodes else next(reversed(nodes), None))

    def data(self) -> dict[str, Any]:
        """As JSON for the browser."""
        return {"nodes": [asdict(node) for node in self.nodes.values()], "leaf": self.leaf}

    def path(self, to: str | None = None) -> list[Node]:
        """The turns from the first to `to` (the shown leaf where that is None)."""
        found: list[Node] = []
        at = self.leaf if to is None else to
        while at is not None:
            found.append(self.nodes[at])
            at = self.nodes[at].parent
        return found[::-1]

    def history(self, before: str) -> list[dict[str, str]]:
        """The turns before a user's turn, as the model reads them. A continuation has none."""
        node = self.nodes[before]
        if node.mode != "chat" or node.parent is None:
            return []
        return [{"role": turn.role, "content": turn.content} for turn in self.path(node.parent)]

    def ask(self, content: str, mode: str, after: str | None) -> Conversation:
        """With a new user's turn behind `after`; a continuation, or a chat behind one, begins anew."""
        parent = after if after and mode == "chat" and self.nodes[after].mode == "chat" else None
        return self._with(Node(self._free_id(), parent, "user", content, mode))

    def answer(self, content: str, tokens: list[int]) -> Conversation:
        """With an answer to the shown leaf, which is a user's turn."""
        asked = self.nodes[self.leaf or ""]
        return self._with(Node(self._free_id(), asked.id, "assistant", content, asked.mode, tokens))

    def show(self, leaf: str | None) -> Conversation:
        """With another branch shown."""
        return replace(self, leaf=leaf)

    def leaves(self) -> list[Node]:
        """The last turn of every branch, oldest first."""
        parents = {node.parent for node in self.nodes.values()}
        return [node for node in self.nodes.values() if node.id not in parents]

    def messages(self) -> list[dict[str, Any]]:
        """The shown branch for gr.Chatbot."""
        return [{"role": node.role, "content": node.content} for node in self.path()]

    def branches(self) -> list[tuple[str, str]]:
        """(label, leaf id) of every branch, told apart by where each last parts from the others."""
        return [(f"{n}. {_snippet(leaf.content)}", leaf.id) for n, leaf in enumerate(self.leaves(), 1)]

    def _with(self, node: Node) -> Conversation:
        return Conversation({**self.nodes, node.id: node}, node.id)

    def _free_id(self) -> str:
        n = len(self.nodes)
        while str(n) in self.nodes:
            n += 1
        return str(n)


def _node(entry: Any) -> Node | None:
    if not isinstance(entry, dict):
        return None
    id, parent, role, content = (entry.get(name) for name in ("id", "parent", "role", "content"))
    mode, tokens = entry.get("mode", "chat"), entry.get("tokens", [])
    fine = (
        isinstance(id, str)
        and 0 < len(id) <= 20
        and id == clean(id)
        and (parent is None or isinstance(parent, str))
        and role in ("user", "assistant")
        and isinstance(content, str)
        and mode in ("chat", "complete")
        and isinstance(tokens, list)
        and all(type(token) is int and 0 <= token < 2**31 for token in tokens)
    )
    return Node(id, parent, role, clean(content), mode, tokens) if fine else None  # type: ignore[arg-type]


def _snippet(text: str, length: int = 48) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else "…" + line[-length:]
